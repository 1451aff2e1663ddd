// Calls by openapi-fetch, with the types that openapi-typescript made of the document of the service. The compiler
// checks the types of every call; each `@ts-expect-error` is an error unless the line below it is one.

import createClient from "openapi-fetch";

import type { components, paths } from "./catalog.js";

type Book = components["schemas"]["BookOutput"];
type Failure = components["schemas"]["rr.Error.catalog.CatalogError"];

export function calls(baseUrl: string) {
  const client = createClient<paths>({ baseUrl });
  return {
    async add(title: string, key: string): Promise<{ id: number | undefined; dedup: string | null }> {
      const header = { "idempotency-key": key, "connect-timeout-ms": 2000 };
      const body = { title, authors: ["Anon"], volumes: [{ kind: "printed" as const, pages: 9 }] };
      const { data, response } = await client.POST("/catalog.v1/add", { params: { header }, body });
      return { id: data, dedup: response.headers.get("rr-dedup") };
    },

    async refused(): Promise<Failure | undefined> {
      const { error } = await client.POST("/catalog.v1/add", { body: { title: "", authors: [] } });
      return error;
    },

    async find(id: number): Promise<Book | undefined> {
      const { data } = await client.POST("/catalog.v1/find", { body: id });
      return data;
    },

    async findByGet(id: number): Promise<{ book?: Book; error?: Failure; method: string }> {
      const query = { message: JSON.stringify(id), encoding: "json" as const, connect: "v1" as const };
      let method = "";
      const { data, error } = await client.GET("/catalog.v1/find", {
        params: { query },
        fetch: (request) => {
          method = request.method;
          return fetch(request);
        },
      });
      return { book: data, error, method };
    },

    async searchByGet(text: string, at_most?: number): Promise<string[] | undefined> {
      const query = { message: JSON.stringify({ text, at_most }) };
      const { data } = await client.GET("/catalog.v1/search", { params: { query } });
      return data?.map((book) => book.title);
    },

    async search(text: string, at_most: number | null): Promise<string[] | undefined> {
      const { data } = await client.POST("/catalog.v1/search", { body: { text, at_most } });
      return data?.map((book) => book.title);
    },

    async alias(id: number): Promise<Book | undefined> {
      const { data } = await client.POST("/catalog.v1/get", { body: id });
      return data;
    },

    async clear(): Promise<number> {
      const { response } = await client.POST("/catalog.v1/clear", {});
      return response.status;
    },
  };
}

/** Reads the application error, whose type is known from the document. */
export function missingBook(failure: Failure | undefined): number | undefined {
  for (const { type, debug } of failure?.details ?? []) {
    const name: "catalog.CatalogError" = type;
    if (name && debug && typeof debug === "object") return debug.no_such_book.id;
  }
  return undefined;
}

/** Never called: what the types refuse. */
export async function refusedByTypes(client: ReturnType<typeof createClient<paths>>) {
  // @ts-expect-error: the body of `find` is a number
  await client.POST("/catalog.v1/find", { body: "17" });
  // @ts-expect-error: a book has authors
  await client.POST("/catalog.v1/add", { body: { title: "x" } });
  // @ts-expect-error: `text` is required
  await client.POST("/catalog.v1/search", { body: { at_most: 1 } });
  // @ts-expect-error: `add` is not safe
  await client.GET("/catalog.v1/add", {});
  // @ts-expect-error: there is no such method
  await client.POST("/catalog.v1/remove", {});
}
