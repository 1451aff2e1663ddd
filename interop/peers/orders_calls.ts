// Calls by openapi-fetch, with the types that openapi-typescript made of the document of the example `orders`.

import createClient from "openapi-fetch";

import type { components, paths } from "./orders.js";

type Order = components["schemas"]["Order"];
type Receipt = components["schemas"]["Receipt"];
type Failure = components["schemas"]["rr.Error.orders.OrderError"];

export function calls(baseUrl: string, authorization: string, tenant: string) {
  const headers = { authorization, "x-tenant": tenant };
  const client = createClient<paths>({ baseUrl, headers });
  return {
    async place(body: Order): Promise<{ receipt?: Receipt; stock: string | null; error?: Failure }> {
      const header = { "idempotency-key": crypto.randomUUID() };
      const { data, error, response } = await client.POST("/orders.v1/place", { params: { header }, body });
      return { receipt: data, stock: response.headers.get("x-left"), error };
    },

    async get(id: number): Promise<{ order?: Order; error?: Failure }> {
      const query = { message: JSON.stringify(id) };
      const { data, error } = await client.GET("/orders.v1/get", { params: { query } });
      return { order: data, error };
    },

    async cancel(id: number): Promise<unknown> {
      const { data } = await client.POST("/orders.v1/cancel", { body: id });
      return data;
    },

    async stamp(label: string): Promise<string | undefined> {
      const { data } = await client.POST("/orders.v1/stamp", {
        body: label,
        headers: { "content-type": "application/octet-stream" },
        bodySerializer: (body) => body,
        parseAs: "text",
      });
      return data;
    },
  };
}

/** Reads the application error, whose type is known from the document. */
export function left(failure: Failure | undefined): number | undefined {
  for (const { type, debug } of failure?.details ?? []) {
    const name: "orders.OrderError" = type;
    if (name && debug && "OutOfStock" in debug) return debug.OutOfStock.left;
  }
  return undefined;
}

/** Never called: what the types refuse. */
export async function refusedByTypes(client: ReturnType<typeof createClient<paths>>) {
  // @ts-expect-error: an order has a count
  await client.POST("/orders.v1/place", { body: { item: "tea" } });
  // @ts-expect-error: `place` is not safe
  await client.GET("/orders.v1/place", {});
}
