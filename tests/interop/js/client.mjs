// What the users of sigstore-js do with it: questions and answers as answers.mjs has them.
//
// usage: node client.mjs PACKAGES
//
// PACKAGES is a directory of whose node_modules the packages are taken, so that one script serves
// every version.

import { X509Certificate, createPrivateKey, createPublicKey, sign as signData } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

import { answerAll } from './answers.mjs';

const load = createRequire(join(process.argv[2], 'package.json'));
const sigstore = load('sigstore');
const { bundleFromJSON, bundleToJSON } = load('@sigstore/bundle');
const { SigningConfig, TransparencyLogEntry, TrustedRoot } = load('@sigstore/protobuf-specs');
const signing = load('@sigstore/sign');
const verifying = load('@sigstore/verify');

// What the errors of sigstore-js are called that say no; none of them is a fault of this script.
const REFUSALS = [
  'InternalError', 'PolicyError', 'TUFError', 'ValidationError', 'VerificationError',
];

const operations = {
  // The package `sigstore`, which knows Rekor v1 only: a message, or with a type an attestation.
  sign: ({ artifact, type, options }) =>
    type === undefined
      ? sigstore.sign(readFileSync(artifact), options)
      : sigstore.attest(readFileSync(artifact), type, options),

  // The package `sigstore`: the trusted root comes from a mirror that the options name.
  verify: async ({ bundle, artifact, options }) => {
    const key = options.publicKey;
    const selector = key === undefined ? {} : { keySelector: () => key };
    const data = artifact === undefined ? [] : [readFileSync(artifact)];
    await sigstore.verify(bundle, ...data, { ...options, ...selector });
  },

  // All that a signing configuration names, with the client's own limits of time; `times` at once.
  signAsConfigured: async ({ artifact, type, signingConfig, identityToken, times }) => {
    const sign = async () => {
      const builder = signing.bundleBuilderFromSigningConfig({
        signingConfig: SigningConfig.fromJSON(readJson(signingConfig)),
        identityProvider: { getToken: async () => identityToken },
        bundleType: type === undefined ? 'messageSignature' : 'dsseEnvelope',
      });
      return bundleToJSON(await builder.create({ data: readFileSync(artifact), type }));
    };
    return Promise.all(Array.from({ length: times ?? 1 }, sign));
  },

  // A trusted root in a file.
  verifyWithRoot: ({ bundle, artifact, trustedRoot }) => {
    const material = verifying.toTrustMaterial(TrustedRoot.fromJSON(readJson(trustedRoot)));
    const data = artifact === undefined ? undefined : readFileSync(artifact);
    const entity = verifying.toSignedEntity(bundleFromJSON(bundle), data);
    const signer = new verifying.Verifier(material).verify(entity);
    return { identity: signer.identity.subjectAlternativeName };
  },

  // Signs with a key of the caller's own instead of a certificate.
  signWithKey: async ({ artifact, key, hint, witness }) => {
    const privateKey = createPrivateKey(readFileSync(key));
    const publicKey = createPublicKey(privateKey).export({ format: 'pem', type: 'spki' });
    const signer = {
      sign: async (data) => ({
        key: { $case: 'publicKey', publicKey, hint },
        signature: signData('sha256', data, privateKey),
      }),
    };
    const witnesses = [new signing.RekorWitness(witness)];
    const builder = new signing.MessageSignatureBundleBuilder({ signer, witnesses });
    return bundleToJSON(await builder.create({ data: readFileSync(artifact) }));
  },

  // Submits what a bundle holds once more; the entries that come back.
  submit: async ({ bundle, witness }) => {
    const { content, verificationMaterial } = bundleFromJSON(bundle);
    const certificate = certificateOf(verificationMaterial.content);
    const pem = new X509Certificate(certificate.rawBytes).toString();
    const { tlogEntries } = await new signing.RekorWitness(witness).testify(content, pem);
    return tlogEntries.map((entry) => TransparencyLogEntry.toJSON(entry));
  },
};

// Older versions write a chain, of one certificate.
function certificateOf(material) {
  return material.$case === 'certificate'
    ? material.certificate
    : material.x509CertificateChain.certificates[0];
}

function readJson(file) {
  return JSON.parse(readFileSync(file, 'utf8'));
}

function refusalOf(error) {
  if (!REFUSALS.includes(error.constructor.name)) return undefined;
  const cause = error.cause === undefined ? null : String(error.cause);
  return { word: error.code ?? error.constructor.name, message: error.message, cause };
}

await answerAll(({ operation, ...request }) => operations[operation](request), refusalOf);
