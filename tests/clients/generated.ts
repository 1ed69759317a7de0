// Uses the types that openapi-typescript generated: node generated.js API TOKEN URL.

import createClient from "openapi-fetch";
import type { components, paths } from "./schema";

declare const process: { argv: string[] };

const [api, token, url] = process.argv.slice(2) as [string, string, string];
const client = createClient<paths>({ baseUrl: api, headers: { Authorization: `Bearer ${token}` } });

function check(holds: boolean, what: unknown): asserts holds {
  if (!holds) throw new Error(JSON.stringify(what));
}

const draft: components["schemas"]["SubscriptionDraft"] = { url, topics: ["typescript.*"] };
const created = await client.POST("/v1/subscriptions", { body: draft });
check(created.data !== undefined, created.error);
const { id, secret } = created.data;
check(secret?.startsWith("whsec_") === true, created.data);
const same = await client.POST("/v1/subscriptions", { body: draft });
check(same.error?.status === 409, same);
check(same.error.type === "urn:homing:problem:duplicate", same.error);

// Workers follow a change within a second; an event that comes before is for none.
await new Promise((resolve) => setTimeout(resolve, 2_000));
const query = { topic: "typescript.paid", id: "typescript-1" };
const published = await client.POST("/v1/events", { params: { query }, body: { amount: 3 } });
check(published.data?.id === "typescript-1", published);

const deadline = Date.now() + 30_000;
for (;;) {
  const page = await client.GET("/v1/events", {
    params: { query: { state: "parked", topic: "typescript.paid" } },
  });
  const [event] = page.data?.events ?? [];
  if (event !== undefined) {
    check(event.event === "typescript-1" && event.states["parked"] === 1, event);
    check(!Number.isNaN(Date.parse(event.last)), event);
    break;
  }
  check(Date.now() < deadline, page);
  await new Promise((resolve) => setTimeout(resolve, 100));
}

// @ts-expect-error: no delivery has this state.
const wrong = await client.GET("/v1/events", { params: { query: { state: "late" } } });
check(wrong.error?.errors?.[0]?.field === "state", wrong);
// @ts-expect-error: there is no such parameter.
const unknown = await client.GET("/v1/attempts", { params: { query: { page: 2 } } });
check(unknown.error?.errors?.[0]?.field === "page", unknown);

const failed = await client.GET("/v1/attempts", {
  params: { query: { outcome: "failed", event: "typescript-1" } },
});
const attempt = await client.GET("/v1/attempts/{id}", {
  params: { path: { id: failed.data?.attempts[0]?.id ?? "" } },
});
check(attempt.data?.payload?.request.body === '{"amount":3}', attempt);

const counted = await client.POST("/v1/parked/replay", {
  body: { event: "typescript-1", dry_run: true },
});
check(counted.data?.matched === 1, counted);

const made = await client.POST("/v1/tokens", { body: { name: "typescript", scope: "read" } });
check(made.data?.token.startsWith("homing_") === true, made);
const listed = await client.GET("/v1/tokens");
check(listed.data?.tokens.some((one) => one.name === "typescript") === true, listed);
const deletedToken = await client.DELETE("/v1/tokens/{name}", {
  params: { path: { name: "typescript" } },
});
check(deletedToken.response.status === 204, deletedToken);

const deleted = await client.DELETE("/v1/subscriptions/{id}", { params: { path: { id } } });
check(deleted.response.status === 204, deleted);
console.log("done");
