// Questions and answers as lines of JSON: one question on standard input, then one answer on
// standard output, until the input ends.

import { createInterface } from 'node:readline';

// Answers each question with `{answer}`, or with `{refusal}` when `handle` fails in a way that
// `refusalOf` knows. Any other fault is not caught: it ends the process with a trace.
export async function answerAll(handle, refusalOf) {
  for await (const line of createInterface({ input: process.stdin })) {
    let answer;
    try {
      answer = { answer: (await handle(JSON.parse(line))) ?? null };
    } catch (error) {
      const refusal = refusalOf(error);
      if (refusal === undefined) throw error;
      answer = { refusal };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
}
