"""The client of rekor-search-ui finds and reads in a log of ours what it does in Rekor, and a
browser lets it, although its page is of another site."""

import hashlib
import http.client
import json
import urllib.parse

from keyless import IDENTITY
from node_client import NodeClient, Refused
from sigstore_js import IN_TOTO, URI, SigstoreJsTest, entry_of, index_of

# The page asks from here.
SITE = "https://search.example.test"

# What a page may send to another site without asking before (https://fetch.spec.whatwg.org,
# "CORS-safelisted"); a content type of JSON is not among it.
SIMPLE_METHODS = ("GET", "HEAD", "POST")
SIMPLE_HEADERS = ("accept",)


class SearchUi(SigstoreJsTest):
    VERSION = "sigstore-5"

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.client = cls.enterClassContext(NodeClient("rekor.mjs", "rekor"))
        cls.signed_message = cls.sign(cls.message)
        cls.signed_statement = cls.sign(cls.statement, IN_TOTO)
        cls.by_uri = cls.sign(cls.message, identity=URI)

    def ask_as_page(self, service: str, method: str, **request):
        """What the client gets, or `Refused`."""
        return self.client.ask(url=self.log.url, service=service, method=method, request=request)

    def found(self, **query) -> set[int]:
        """The indexes of the entries that a search finds, each fetched as the page fetches it."""
        uuids = self.ask_as_page("index", "searchIndex", query=query)
        entries = [self.ask_as_page("entries", "getLogEntryByUuid", entryUuid=uuid)
                   for uuid in uuids]
        self.assertEqual([list(entry) for entry in entries], [[uuid] for uuid in uuids])
        return {entry[uuid]["logIndex"] for entry, uuid in zip(entries, uuids)}

    def test_entries_are_found_by_who_signed_and_by_what(self) -> None:
        by_email = indexes(self.signed_message, self.signed_statement)
        self.assertEqual(self.found(email=IDENTITY), by_email)
        digest = hashlib.sha256(self.message.read_bytes()).hexdigest()
        by_digest = indexes(self.signed_message, self.by_uri)
        self.assertEqual(self.found(hash=f"sha256:{digest}"), by_digest)
        self.assertEqual(self.found(email="eve@example.test"), set())

    def test_an_entry_is_read_by_its_index_and_one_that_is_not_there_is_not(self) -> None:
        [index] = indexes(self.signed_message)
        [entry] = self.ask_as_page(
            "entries", "getLogEntryByIndex", logIndex=index).values()
        self.assertEqual(entry["body"], entry_of(self.signed_message)["canonicalizedBody"])
        with self.assertRaises(Refused) as refused:
            self.ask_as_page("entries", "getLogEntryByIndex", logIndex=1_000_000)
        self.assertEqual(refused.exception.refusal, {"status": 404, "body": None})

    def test_the_log_says_its_size_its_key_and_a_proof(self) -> None:
        size = self.ask_as_page("tlog", "getLogInfo")["treeSize"]
        self.assertEqual(size, self.size())
        proof = self.ask_as_page("tlog", "getLogProof", firstSize=1, lastSize=size)
        self.assertTrue(proof["hashes"])
        self.assertIn("BEGIN PUBLIC KEY", self.ask_as_page("pubkey", "getPublicKey"))

    # --- what a browser asks before and looks at afterwards ------------------------------------

    def fetch(self, method: str, path: str, body: dict | None = None) -> tuple[int, bytes]:
        """Asks as a browser does for a page of another site: before, if it has to, and then reads
        only what the page may read."""
        headers = {"accept": "application/json"}
        if body is not None:
            headers["content-type"] = "application/json"
        asks_for = sorted(name for name in headers if name not in SIMPLE_HEADERS)
        if asks_for or method not in SIMPLE_METHODS:
            self.preflight(method, path, asks_for)
        sent = json.dumps(body) if body is not None else None
        answer, content = self.send(method, path, headers | {"origin": SITE}, sent)
        self.assertIn(answer.getheader("access-control-allow-origin"), ("*", SITE))
        return answer.status, content

    def preflight(self, method: str, path: str, asks_for: list[str]) -> None:
        answer, _ = self.send("OPTIONS", path, {
            "origin": SITE, "access-control-request-method": method,
            "access-control-request-headers": ",".join(asks_for),
        })
        self.assertIn(answer.status, (200, 204))
        self.assertIn(answer.getheader("access-control-allow-origin"), ("*", SITE))
        methods = listed(answer.getheader("access-control-allow-methods"))
        self.assertTrue(method in SIMPLE_METHODS or method.lower() in methods)
        allowed = listed(answer.getheader("access-control-allow-headers"))
        self.assertLessEqual(set(asks_for), allowed)

    def send(self, method: str, path: str, headers: dict, body: str | None = None):
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.log.url).netloc)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()

    def test_a_browser_lets_the_page_search_and_read(self) -> None:
        status, content = self.fetch("POST", "/api/v1/index/retrieve", {"email": IDENTITY})
        self.assertEqual(status, 200)
        uuid = json.loads(content)[0]
        self.assertEqual(self.fetch("GET", f"/api/v1/log/entries/{uuid}")[0], 200)
        self.assertEqual(self.fetch("GET", "/api/v1/log/entries?logIndex=0")[0], 200)
        retrieve = {"entryUUIDs": [uuid]}
        self.assertEqual(self.fetch("POST", "/api/v1/log/entries/retrieve", retrieve)[0], 200)

    def test_a_browser_lets_the_page_read_why_it_was_refused(self) -> None:
        self.assertEqual(self.fetch("GET", "/api/v1/log/entries?logIndex=1000000")[0], 404)
        self.assertEqual(self.fetch("GET", "/api/v1/log/entries/no-uuid")[0], 422)
        self.assertEqual(self.fetch("POST", "/api/v1/index/retrieve", {"email": "nobody"})[0], 422)


def indexes(*bundles: dict) -> set[int]:
    return {index_of(entry_of(bundle)) for bundle in bundles}


def listed(header: str | None) -> set[str]:
    return {word.strip().lower() for word in (header or "").split(",")}
