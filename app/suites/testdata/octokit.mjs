// Signs and verifies with GitHub's own library. Each line of standard input is
// {"secret":…,"body":…} and answered by the signature, or has a "signature"
// beside these and is answered by true or false. The body is text in UTF-8.
import { createInterface } from "node:readline";
import { sign, verify } from "@octokit/webhooks-methods";

for await (const line of createInterface({ input: process.stdin })) {
  const { secret, body, signature } = JSON.parse(line);
  const answer = signature === undefined ? await sign(secret, body) : await verify(secret, body, signature);
  console.log(JSON.stringify(answer));
}
