// What each call takes and gives, from the generated types.
import type { paths } from "./generated/api.js";

export type Method = "get" | "post" | "put" | "delete";

/** The paths that have this method. */
export type PathOf<M extends Method> = {
  [P in keyof paths]: paths[P] extends { [K in M]: { responses: unknown } } ? P : never;
}[keyof paths];

type Operation<P extends keyof paths, M extends Method> = paths[P][M];

type Json<R> = R extends { content: { "application/json": infer B } } ? B : never;

/** The body of the answer to a call. */
export type Result<P extends keyof paths, M extends Method> =
  Operation<P, M> extends { responses: infer R }
    ? { [S in keyof R]: S extends 200 | 201 | 202 ? Json<R[S]> : never }[keyof R]
    : never;

type InPath<O> = O extends { parameters: { path: infer V } } ? { path: V } : unknown;
type Query<V> = { [N in keyof Omit<V, "numeric">]: number extends V[N & keyof V] ? V[N & keyof V] | bigint : V[N & keyof V] };
type InQuery<O> = O extends { parameters: { query: infer V } }
  ? { query: Query<V> }
  : O extends { parameters: { query?: infer V } }
    ? { query?: Query<NonNullable<V>> }
    : unknown;
type InBody<O> = O extends { requestBody: { content: { "application/json": infer B } } }
  ? { body: B }
  : O extends { requestBody?: { content: { "application/json": infer B } } }
    ? { body?: B }
    : unknown;

/** What a call takes: values for `{names}` in its path, its query, its body, and a signal to abort it. */
export type Input<P extends keyof paths, M extends Method> = InPath<Operation<P, M>> &
  InQuery<Operation<P, M>> &
  InBody<Operation<P, M>> & { signal?: AbortSignal };

/** The same as arguments: it may be left out where nothing has to be given. */
export type Inputs<P extends keyof paths, M extends Method> =
  Record<never, never> extends Input<P, M> ? [input?: Input<P, M>] : [input: Input<P, M>];

/** The calls that answer with a transaction for the caller's wallet. */
export type TransactionPath = {
  [P in PathOf<"post">]: Result<P, "post"> extends { transaction: string; simulation: unknown } ? P : never;
}[PathOf<"post">];

/** The lists that are read page by page. */
export type PagedPath = {
  [P in PathOf<"get">]: Result<P, "get"> extends { next_cursor?: string | null } ? P : never;
}[PathOf<"get">];
