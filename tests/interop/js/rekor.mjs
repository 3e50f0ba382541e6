// What rekor-search-ui asks a log with: questions and answers as answers.mjs has them.
//
// usage: node rekor.mjs PACKAGES
//
// PACKAGES is a directory of whose node_modules the client is taken. A refusal is an answer of the
// log that the client calls an error.

import { createRequire } from 'node:module';
import { join } from 'node:path';

import { answerAll } from './answers.mjs';

const { RekorClient } = createRequire(join(process.argv[2], 'package.json'))('rekor');

await answerAll(
  ({ url, service, method, request }) => new RekorClient({ BASE: url })[service][method](request),
  (error) =>
    error.name === 'ApiError' ? { status: error.status, body: error.body ?? null } : undefined,
);
