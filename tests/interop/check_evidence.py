"""Judges an evidence file against a transparency log, with none of our code.

usage: check_evidence.py FILE [VKEY ...]

Prints proven-log, proven-witness, suspicious, not-proven or malformed, and why. Ends with 0 when
somebody is convicted, with 1 when not, with 2 when the file is malformed. Signatures count by the
keys in the file; whose keys they are, the reader knows. Each VKEY is a key that is known to be the
log's: without that an ML-DSA-44 key, which nothing in a file binds to the log, convicts nobody.

Written from the format (proto/src/evidence.rs) and from the specifications of signed notes,
checkpoints and cosignatures (c2sp.org) and Merkle trees (RFC 6962), to be read in one sitting.
"""

import base64
import hashlib
import sys

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

try:
    from cryptography.hazmat.primitives.asymmetric import mldsa
except ImportError:
    # Older packages cannot check what an ML-DSA signature proves; then it is not proven.
    mldsa = None

FILE_LEN_MAX, NOTE_LEN_MAX, LINES_MAX, HASHES_MAX, KEYS_MAX = 4 << 20, 1 << 20, 100, 63, 200
SIZE_MAX, TIME_MAX, TEXT_LEN_MAX = (1 << 53) - 1, (1 << 63) - 1, 2048
# By how many seconds the clocks of one witness may differ; a log has one clock.
SKEW_MAX = 300
PROMISES = ("broken-promise", "wrong-time")
FORKS = ("fork-size", "fork-prefix")
SUSPICIONS = ("rollback-suspected", "inconsistent-unproven", "foreign-key")


class Malformed(Exception):
    """Not an evidence file."""


class NotProven(Exception):
    """An evidence file that does not show what it says."""


def need(condition, why, error=NotProven):
    if not condition:
        raise error(why)


def decode(text, error, length=None):
    """The bytes of canonical base64 (RFC 4648 section 4), one or more."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as wrong:
        raise error("malformed base64") from wrong
    need(data and base64.b64encode(data).decode() == text, "malformed base64", error)
    need(length in (None, len(data)), "wrong length", error)
    return data


def decimal(text, most, error):
    fine = text.isascii() and text.isdigit() and len(text) <= 20 and str(int(text)) == text
    need(fine and int(text) <= most, "malformed number", error)
    return int(text)


def is_name(name):
    bad = any(c.isspace() or c < " " or c == "+" for c in name)
    return 1 <= len(name.encode()) <= 255 and not bad


class Key:
    """A verifier key of c2sp.org/signed-note."""

    def __init__(self, name, kind, public, error=Malformed):
        need(is_name(name), "malformed key name", error)
        typed = bytes([kind]) + public
        named = public if kind == 2 else name.encode() + b"\n" + typed
        self.name, self.kind, self.id = name, kind, hashlib.sha256(named).digest()[:4]
        self.identity = (name, typed)
        try:
            if kind in (1, 4):
                self.public = ed25519.Ed25519PublicKey.from_public_bytes(public)
            elif kind == 2:
                self.public = serialization.load_der_public_key(public)
                curve = getattr(self.public, "curve", None)
                need(isinstance(curve, ec.SECP256R1), "not a P-256 key", error)
            else:
                need(kind == 6 and len(public) == 1312, "unknown kind of key", error)
                self.public = mldsa and mldsa.MLDSA44PublicKey.from_public_bytes(public)
        except UnsupportedAlgorithm:
            self.public = None
        except ValueError as wrong:
            raise error("malformed public key") from wrong

    @classmethod
    def parse(cls, vkey):
        parts = vkey.split("+", 2)
        need(len(parts) == 3 and len(vkey) <= 4096, "malformed key", Malformed)
        typed = decode(parts[2], Malformed)
        key = cls(parts[0], typed[0], typed[1:])
        need(key.id.hex() == parts[1], "wrong key id", Malformed)
        return key

    def __eq__(self, other):
        return self.identity == other.identity

    def is_log_of(self, origin):
        """By its name; a Rekor v1 log signs the origin `<host> - <tree id>` as `<host>`."""
        if self.kind != 2:
            return self.kind != 4 and self.name == origin
        host, dash, tree = origin.partition(" - ")
        return self.name == host and (not dash or (tree.isascii() and tree.isdigit()))

    def verify(self, note, payload):
        """Verifies a signature over the note; the time if it has one, else None."""
        text, time = note.text.encode(), None
        if self.kind in (4, 6):
            need(len(payload) == {4: 72, 6: 2428}[self.kind], "a cosignature of another length")
            time, payload = int.from_bytes(payload[:8], "big"), payload[8:]
            need(time <= TIME_MAX, "a time out of range")
        if self.kind == 4:
            text = b"cosignature/v1\ntime %d\n" % time + text
        if self.kind == 6:
            need(self.public, "no ML-DSA in this version of the cryptography package")
            text = note.subtree(self.name, time)
        try:
            if self.kind == 2:
                self.public.verify(payload, text, ec.ECDSA(hashes.SHA256()))
            else:
                self.public.verify(payload, text)
        except InvalidSignature as wrong:
            raise NotProven(f"the signature of {self.name} does not verify") from wrong
        return time or None


class Note:
    """A signed note, opened with `keys`: every line of theirs must verify."""

    def __init__(self, data, keys):
        need(len(data) <= NOTE_LEN_MAX, "a note is too long")
        try:
            whole = data.decode()
        except UnicodeDecodeError as wrong:
            raise NotProven("a note is not UTF-8") from wrong
        text, blank, lines = whole.rpartition("\n\n")
        bare = all(c >= " " or c == "\n" for c in whole)
        need(bare and blank and lines.endswith("\n"), "a malformed note")
        self.text, self.times = text + "\n", []
        lines = lines[:-1].split("\n")
        need(len(lines) <= LINES_MAX, "too many signature lines")
        for line in lines:
            dash, name, encoded = (line.split(" ") + ["", ""])[:3]
            need(line.count(" ") == 2 and dash == "\u2014" and is_name(name), "a malformed line")
            payload = decode(encoded, NotProven)
            need(len(payload) > 4, "a malformed line")
            for key in keys:
                is_first = all(key != known for known, _ in self.times)
                if (key.name, key.id) == (name, payload[:4]) and is_first:
                    self.times.append((key, key.verify(self, payload[4:])))
        need(self.times or not keys, "a note without a signature by a key of the file")

    def checkpoint(self):
        lines = self.text[:-1].split("\n")
        need(len(lines) >= 3 and all(lines), "a malformed checkpoint")
        root = decode(lines[2], NotProven, 32)
        return lines[0], decimal(lines[1], SIZE_MAX, NotProven), root, lines[3:]

    def subtree(self, cosigner, time):
        """What an ML-DSA-44 cosignature signs (c2sp.org/tlog-cosignature)."""
        origin, size, root, extensions = self.checkpoint()
        need(not extensions and len(origin.encode()) <= 255, "not what ML-DSA cosigns")
        need(size or root == hashlib.sha256().digest(), "an empty tree with a root")
        names = [bytes([len(n.encode())]) + n.encode() for n in (cosigner, origin)]
        ends = b"".join(number.to_bytes(8, "big") for number in (0, size))
        when = time.to_bytes(8, "big")
        return b"subtree/v1\n\0" + names[0] + when + names[1] + ends + root

    def signed_by(self, key):
        return any(key == known for known, _ in self.times)


def node(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def split(size):
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def inclusion(index, size, leaf, proof):
    """The root; `proof` is used up from its end (RFC 6962 section 2.1.1)."""
    if size == 1:
        return leaf
    need(proof, "a proof that is too short")
    sibling, left = proof.pop(), split(size)
    if index < left:
        return node(inclusion(index, left, leaf, proof), sibling)
    return node(sibling, inclusion(index - left, size - left, leaf, proof))


def consistency(old, new, root, proof, whole=True):
    """Both roots, of the first `old` and of all `new` leaves (RFC 6962 section 2.1.2)."""
    if old == new:
        need(whole or proof, "a proof that is too short")
        top = root if whole else proof.pop()
        return top, top
    need(proof, "a proof that is too short")
    sibling, left = proof.pop(), split(new)
    if old <= left:
        below, above = consistency(old, left, root, proof, whole)
        return below, node(above, sibling)
    below, above = consistency(old - left, new - left, root, proof, False)
    return node(sibling, below), node(sibling, above)


class File:
    """An evidence file, and the verdict on it."""

    def __init__(self, data, trusted):
        self.trusted = trusted
        need(len(data) <= FILE_LEN_MAX, "too long", Malformed)
        try:
            text = data.decode()
        except UnicodeDecodeError as wrong:
            raise Malformed("not UTF-8") from wrong
        need(text.endswith("\n"), "the last line is not finished", Malformed)
        self.lines = text[:-1].split("\n")
        need(self.lines.pop(0) == "tlog-evidence@v1", "not an evidence file", Malformed)
        self.kind = self.take("kind")
        need(self.kind in (*FORKS, *PROMISES, *SUSPICIONS, "rollback"), "unknown kind", Malformed)
        self.origin, self.keys, self.bound = self.take("origin"), [], []
        self.face = self.origin
        while not self.keys or self.has("key"):
            self.keys.append(Key.parse(self.take("key")))
            is_new = self.keys[-1] not in self.keys[:-1]
            need(is_new and len(self.keys) <= KEYS_MAX, "a key twice, or too many", Malformed)
        has_identity = self.kind in PROMISES or (self.kind in FORKS and self.has("identity"))
        self.identity = decode(self.take("identity"), Malformed) if has_identity else None
        count = 1 if self.kind in PROMISES else 2
        self.raw = [decode(self.take(f"note {n}"), Malformed) for n in range(count)]
        if self.kind == "fork-prefix":
            self.altroot = decode(self.take("altroot"), Malformed, 32)
            self.proof = self.hashes("proof consistency")
        if self.kind in PROMISES:
            self.set = decode(self.take("set"), Malformed)
            self.promised = decode(self.take("promised"), Malformed)
            self.time = decimal(self.take("time"), (1 << 64) - 1, Malformed)
            self.index = decimal(self.take("index"), SIZE_MAX - 1, Malformed)
            if self.kind == "broken-promise":
                self.leaf = decode(self.take("leaf"), Malformed, 32)
            is_there = self.kind == "broken-promise" or self.has("proof inclusion")
            self.proof = self.hashes("proof inclusion") if is_there else None
        above = text[: text.rindex("\nsum ") + 1] if "\nsum " in text else ""
        total = decode(self.take("sum"), Malformed, 32)
        need(total == hashlib.sha256(above.encode()).digest(), "damaged: wrong sum", Malformed)
        self.take("seen")
        need(not self.lines, "a line too many", Malformed)

    def has(self, name):
        return bool(self.lines) and (self.lines[0] + " ").startswith(name + " ")

    def take(self, name):
        need(self.has(name), f"the line {name!r} is missing", Malformed)
        value = self.lines.pop(0)[len(name) + 1:]
        printable = all(c >= " " and not "\x7f" <= c <= "\x9f" for c in value)
        fits = len(value.encode()) <= TEXT_LEN_MAX or name not in ("origin", "seen")
        need(printable and fits and (value or name.startswith("proof")), f"bad {name}", Malformed)
        return value

    def hashes(self, name):
        bare = self.lines and self.lines[0] == name
        value = self.take(name)
        need(bare or value, "a space too many", Malformed)
        hashes = [decode(part, Malformed, 32) for part in value.split(" ")] if value else []
        need(len(hashes) <= HASHES_MAX, "too many hashes", Malformed)
        return hashes

    def judge(self):
        """Who is convicted: `log` or `witness`; None for what only makes suspicious."""
        for key in self.keys:
            need(key.kind not in (1, 2) or key.is_log_of(self.origin), "a key of another log")
        if self.identity:
            self.bind()
        if self.kind in PROMISES:
            return self.promise()
        if self.kind == "foreign-key":
            return self.foreign()
        notes = [self.note(data) for data in self.raw]
        (one, old, first, _), (other, new, second, _) = (n.checkpoint() for n in notes)
        if self.kind == "fork-size":
            need(old == new and first != second, "no two trees of one size")
        if self.kind == "fork-prefix":
            need(old < new and self.altroot != first, "nothing is rewritten")
            self.check_rewritten(old, new, second)
        if self.kind in ("rollback", "rollback-suspected"):
            need(old > new, "the tree did not shrink")
        if self.kind in SUSPICIONS:
            need((old, first) != (new, second), "one tree")
            return None
        self.check_all_signed(notes)
        if self.kind == "rollback":
            times = [(k, t, u) for k, t in notes[0].times for l, u in notes[1].times if k == l]
            dated = [k for k, t, u in times if t and u and
                     u - t > (0 if k.is_log_of(one) else SKEW_MAX)]
            need(dated, "no key dated note 1 later than note 0")
            return self.who([k for k in dated if k.is_log_of(one)],
                            [k for k in dated if not k.is_log_of(one)])
        pairs = [(k, l) for k, _ in notes[0].times for l, _ in notes[1].times]
        known = [*self.bound, *self.trusted]
        pairs = [(k, l) for k, l in pairs if k == l or (k in known and l in known)]
        log = [k for k, l in pairs if k.is_log_of(one) and l.is_log_of(other)]
        both = [k for k, l in pairs if k == l and k.kind in (4, 6) and not k.is_log_of(one)]
        need(log or both, "nobody signed both notes")
        return self.who(log, both)

    def who(self, log, witnesses):
        """Who is convicted, when keys with the name of the log are, and others."""
        if any(key.kind in (1, 2) or key in self.trusted for key in log):
            return "log"
        return "witness" if witnesses else None

    def check_rewritten(self, old, new, root):
        proof = list(self.proof)
        if old == 0:
            need(self.altroot == hashlib.sha256().digest(), "altroot is no empty tree")
        else:
            roots = consistency(old, new, self.altroot, proof)
            need(roots == (self.altroot, root), "the proof leads to another root")
        need(not proof, "a proof that is too long")

    def bind(self):
        """The identity document, by which two keys vouch for each other."""
        lines = self.identity.decode(errors="replace").split("\n")[:6]
        names = ["treering identity v1", "origin", "tree", "note-key", "v1-key", ""]
        need([line.split(" ")[0] for line in lines[1:]] == names[1:], "a malformed identity")
        need(lines[0] == names[0], "a malformed identity")
        origin, tree, vkey, spki = (line.partition(" ")[2] for line in lines[1:5])
        try:
            keys = [Key.parse(vkey), Key(origin, 2, decode(spki, Malformed))]
        except Malformed as wrong:
            raise NotProven(f"identity: {wrong}") from wrong
        document = Note(self.identity, keys)
        need(all(document.signed_by(key) for key in keys), "an identity that one key did not sign")
        need(document.text == "\n".join(lines[:5]) + "\n", "a malformed identity")
        need(keys[0].kind == 1 and keys[0].name == origin == self.origin, "another identity")
        need(decimal(tree, TIME_MAX, NotProven) > 0, "a malformed identity")
        need(any(key in self.keys for key in keys), "an identity of keys that are not in the file")
        self.bound, self.face = keys, f"{origin} - {tree}"
        self.keys += [key for key in keys if key not in self.keys]

    def note(self, data):
        note = Note(data, self.keys)
        need(note.checkpoint()[0] in (self.origin, self.face), "a note of another origin")
        return note

    def check_all_signed(self, notes):
        """Every key signed every note of its face, unless the log changed its signing key between
        them."""
        def lacks(key):
            origins = {self.origin, self.face}
            for bound, origin in zip(self.bound, (self.origin, self.face)):
                if key == bound:
                    origins = {origin}
            mine = [note for note in notes if note.checkpoint()[0] in origins]
            return not all(note.signed_by(key) for note in mine)

        if not any(lacks(key) for key in self.keys):
            return
        log = [key for key in self.keys if key.kind in (1, 2)]
        others = [key for key in self.keys if key not in log]
        need(not self.bound and not any(lacks(key) for key in others), "a line is missing")
        need(all(sum(n.signed_by(k) for n in notes) == 1 for k in log), "a line is missing")
        need(all(any(n.signed_by(k) for k in log) for n in notes), "a line is missing")

    def promise(self):
        note = self.note(self.raw[0])
        self.check_all_signed([note])
        need(any(note.signed_by(key) for key in self.bound), "the log did not sign note 0")
        v1, body = self.bound[1], base64.b64encode(self.promised).decode()
        spki = v1.identity[1][1:]
        signed = (f'{{"body":"{body}","integratedTime":{self.time},'
                  f'"logID":"{hashlib.sha256(spki).hexdigest()}","logIndex":{self.index}}}')
        try:
            v1.public.verify(self.set, signed.encode(), ec.ECDSA(hashes.SHA256()))
        except InvalidSignature as wrong:
            raise NotProven("the promise is not the log's") from wrong
        origin, size, root, _ = note.checkpoint()
        promised = hashlib.sha256(b"\0" + self.promised).digest()
        leaf = promised if self.kind == "wrong-time" else self.leaf
        if self.proof is not None:
            proof = list(self.proof)
            need(self.index < size, "an index outside the tree")
            need(inclusion(self.index, size, leaf, proof) == root, "the proof leads elsewhere")
            need(not proof, "a proof that is too long")
        if self.kind == "broken-promise":
            need(leaf != promised, "the promise was kept")
            return "log"
        own = [(k, t) for k, t in note.times if t and k.kind == 6 and k.is_log_of(origin)]
        need(own, "no time by the log's ML-DSA-44 key")
        # The reader's key of the log first, whatever others stand beside it.
        key, time = min(own, key=lambda pair: pair[0] not in self.trusted)
        need((self.index < size) == (self.proof is not None), "a proof too many, or none")
        lies = self.time > time if self.index < size else self.time < time
        need(lies, "the times agree")
        return self.who([key], [])

    def foreign(self):
        self.note(self.raw[0])
        shown = Note(self.raw[1], [])
        need(shown.checkpoint()[0] in (self.origin, self.face), "a note of another origin")
        try:
            self.note(self.raw[1])
        except NotProven:
            return None
        raise NotProven("note 1 is signed by a key of the file")


def judge(data, trusted=()):
    """The verdict on the bytes of a file, and why; `trusted` are vkeys of the log."""
    try:
        convicted = File(data, [Key.parse(vkey) for vkey in trusted]).judge()
    except Malformed as wrong:
        return "malformed", str(wrong)
    except NotProven as wrong:
        return "not-proven", str(wrong)
    if convicted is None:
        return "suspicious", "such evidence convicts nobody, or only with keys that are trusted"
    return f"proven-{convicted}", "by the keys in the file"


def main():
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    with open(sys.argv[1], "rb") as file:
        verdict, why = judge(file.read(FILE_LEN_MAX + 1), sys.argv[2:])
    print(verdict)
    print(why, file=sys.stderr)
    return {"malformed": 2, "not-proven": 1, "suspicious": 1}.get(verdict, 0)


if __name__ == "__main__":
    sys.exit(main())
