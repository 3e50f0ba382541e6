"""The files of `deploy/` that name our programs: each script that they call is there, each flag and
variable is one that the program has; and the Kubernetes example, run container by container.
"""

import json
import re
import shlex
import shutil

import yaml

import harness
from harness import ROOT, InteropTest, flip_weight

DEPLOY = ROOT / "deploy"
SCRIPT = DEPLOY / "ci/sign-and-log"
ACTION = DEPLOY / "github/action.yml"
TEMPLATE = DEPLOY / "gitlab/sign-and-log.yml"
MANIFEST = DEPLOY / "kubernetes/verified-model.yaml"
DOCS = ROOT / "docs/gates.md"
FLAG = r"(?<![\w-])--[a-z][a-z-]+"


class Files(InteropTest):
    def words_of(self, kind: str, *command: str) -> set[str]:
        """The flags, or the variables, that the help of a command of ours names."""
        return set(re.findall(kind, harness.run(harness.treering(), *command, "--help")))

    def uses(self) -> list[tuple[str, str, set[str]]]:
        """Where a command of `treering` stands in these files, which one, with which flags."""
        manifest = yaml.safe_load(MANIFEST.read_text())["spec"]["template"]["spec"]
        texts = {str(MANIFEST): " ".join(manifest["initContainers"][1]["command"])}
        for file in (SCRIPT, DOCS, ROOT / "README.md"):
            texts[str(file)] = file.read_text().replace("\\\n", " ")
        use = re.compile(r"\btreering (sign|verify|submit|inspect|trust [a-z-]+) (.*)")
        return [(file, command, set(re.findall(FLAG, rest)))
                for file, text in texts.items() for command, rest in use.findall(text)]

    def test_every_yaml_file_is_one(self) -> None:
        files = [file for file in DEPLOY.rglob("*") if file.suffix in (".yml", ".yaml")]
        self.assertGreaterEqual(len(files), 5)
        for file in files:
            self.assertTrue(list(yaml.safe_load_all(file.read_text())), file)

    def test_every_flag_exists(self) -> None:
        uses = [use for use in self.uses() if use[2]]
        self.assertEqual({file for file, _, _ in uses},
                         {str(file) for file in (MANIFEST, SCRIPT, DOCS, ROOT / "README.md")})
        for file, command, flags in uses:
            known = self.words_of(FLAG, *command.split())
            self.assertEqual(flags - known, set(), f"{file}: treering {command}")
        hook = (DEPLOY / "python/treering_verify.py").read_text()
        given = set(re.findall(rf'"({FLAG})"', hook))
        self.assertIn("--ignore-path", given)
        self.assertEqual(given - self.words_of(FLAG, "verify"), set())

    def test_every_variable_is_one_of_the_command(self) -> None:
        variable = r"\bTREERING_[A-Z_]+\b"
        step, = yaml.safe_load(ACTION.read_text())["runs"]["steps"]
        texts = [*step["env"], TEMPLATE.read_text(), SCRIPT.read_text()]
        # The image of a job is no business of the program.
        used = set(re.findall(variable, " ".join(texts))) - {"TREERING_IMAGE"}
        self.assertGreater(len(used), 6)
        self.assertEqual(used - self.words_of(variable, "sign"), set())

    def test_every_script_that_is_called_exists(self) -> None:
        step, = yaml.safe_load(ACTION.read_text())["runs"]["steps"]
        path = shlex.split(step["run"])[0].replace("$GITHUB_ACTION_PATH", str(DEPLOY / "github"))
        self.assertTrue(shutil.which(path), path)
        job = yaml.safe_load(TEMPLATE.read_text())
        line, = job[".treering-sign-and-log"]["script"]
        name = shlex.split(line)[0]
        copied = re.search(rf"^COPY (\S+) /usr/local/bin/{re.escape(name)}$",
                           (ROOT / "Dockerfile").read_text(), re.MULTILINE)
        self.assertTrue(copied and shutil.which(str(ROOT / copied[1])), name)


class Kubernetes(InteropTest):
    def setUp(self) -> None:
        super().setUp()
        manifest, = yaml.safe_load_all(MANIFEST.read_text())
        self.pod = manifest["spec"]["template"]["spec"]
        self.init = {container["name"]: container for container in self.pod["initContainers"]}
        self.server, = self.pod["containers"]
        self.volumes = {volume["name"]: self.folder / f"volume-{volume['name']}"
                        for volume in self.pod["volumes"]}
        for folder in self.volumes.values():
            folder.mkdir()
        self.source = harness.make_model(self.volumes["source"] / "llm-7b")
        key = self.folder / "ci.pem"
        self.treering("keygen", "--key", key, "--no-password")
        self.trust = self.volumes["trust"] / "trust.json"
        shutil.copy(self.log.trust, self.trust)
        self.treering("trust", "add-signer", "ci", "--trust", self.trust,
                      "--public-key", self.folder / "ci.pub")
        self.treering("sign", self.source, "--trust", self.trust, "--key", key)

    def run_container(self, name: str, status: int = 0) -> str:
        """Runs the command of an init container with its mounts in the place of paths."""
        container = self.init[name]
        mounts = {mount["mountPath"]: self.volumes[mount["name"]]
                  for mount in container["volumeMounts"]}
        paths = "|".join(map(re.escape, mounts))

        def place(word: str) -> str:
            return re.sub(rf"(^|=)({paths})(?=/|$)",
                          lambda found: found[1] + str(mounts[found[2]]), word)

        program, *words = map(place, container["command"])
        program = {"treering": harness.treering()}.get(program, program)
        # A container has none of this user's settings.
        return harness.run(program, *words, status=status,
                           environment={"HOME": "/nonexistent", "TREERING_STATE": ""})

    def start(self, status: int = 0) -> str:
        self.assertEqual(list(self.init), ["fetch-model", "verify-model"])
        self.run_container("fetch-model")
        return self.run_container("verify-model", status)

    def test_a_verified_model_is_served(self) -> None:
        self.assertIn("verified: llm-7b", self.start())
        served = self.volumes["models"] / "llm-7b"
        self.assertIn(str(served).replace(str(self.volumes["models"]), "/models"),
                      self.server["args"])

    def test_one_changed_bit(self) -> None:
        flip_weight(self.source)
        self.assertIn("NOT VERIFIED", self.start(status=1))

    def test_no_bundle(self) -> None:
        (self.source / "model.sig").unlink()
        self.start(status=1)

    def test_a_file_that_nobody_signed(self) -> None:
        (self.source / "more.py").write_text("import evil")
        self.start(status=1)

    def test_a_signer_whom_nobody_accepts(self) -> None:
        trust = json.loads(self.trust.read_text())
        other = harness.Key(self.folder, "other")
        trust["signers"] = []
        self.trust.write_text(json.dumps(trust))
        self.treering("trust", "add-signer", "other", "--trust", self.trust,
                      "--public-key", other.public)
        self.start(status=1)

    def test_a_log_that_does_not_answer(self) -> None:
        trust = json.loads(self.trust.read_text())
        trust["log"]["url"] = "http://127.0.0.1:1"
        self.trust.write_text(json.dumps(trust))
        self.init["verify-model"]["command"].append("--deadline=1s")
        self.init["verify-model"]["command"].remove("--deadline=2m")
        self.start(status=5)

    def test_nobody_writes_after_the_check(self) -> None:
        """Whoever comes after fetch-model mounts the model read-only, from a volume of the pod."""
        models, = [v for v in self.pod["volumes"] if v["name"] == "models"]
        self.assertIn("emptyDir", models)
        for container in (self.init["verify-model"], self.server):
            mount, = [m for m in container["volumeMounts"] if m["name"] == "models"]
            self.assertTrue(mount.get("readOnly"), container["name"])

    def test_containers_may_do_little(self) -> None:
        self.assertTrue(self.pod["securityContext"]["runAsNonRoot"])
        self.assertIs(self.pod["automountServiceAccountToken"], False)
        for container in [*self.init.values(), self.server]:
            context = container["securityContext"]
            self.assertIs(context["allowPrivilegeEscalation"], False)
            self.assertIs(context["readOnlyRootFilesystem"], True)
            self.assertEqual(context["capabilities"], {"drop": ["ALL"]})
            # An image by its digest is the one that somebody looked at.
            self.assertIn("@sha256:", container["image"])
