import { Agent as HttpAgent, request as httpRequest } from "node:http";
import type { IncomingMessage, RequestOptions } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { CarWriter } from "@ipld/car";
import { varint } from "multiformats";
import { CID } from "multiformats/cid";
import * as Digest from "multiformats/hashes/digest";
import { sameBytes, sha256 } from "../core/bytes.js";
import { AnchordError, messageOf } from "../core/errors.js";
import { codeOf } from "./files.js";
import type { Condition, ContentStore, StagedBlocks } from "./port.js";

const RAW = 0x55;
const SHA2_256 = 0x12;

/** How long peers may take to come up with a block, in milliseconds. */
const FETCH_MS = 10_000;

/** How long Kubo may neither say nor take anything, in milliseconds. It syncs and pins in that time. */
const SILENCE_MS = 120_000;

/** More than Kubo answers to any call of ours: no block that peers exchange has more than 2 MiB. */
const MAX_ANSWER_BYTES = 8 * 1024 * 1024;

/** What Kubo says of a block that it does not have, and of one that its peers did not send in time. */
const ABSENT = /not found|could not find/i;
const LATE = /deadline exceeded/i;

const BOUNDARY = "anchord-9d0f4f4be5c34d2a";
const BEFORE = Buffer.from(
  `--${BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n` +
    "Content-Type: application/octet-stream\r\n\r\n",
);
const AFTER = Buffer.from(`\r\n--${BOUNDARY}--\r\n`);

/** Where a Kubo node is. */
export interface KuboOptions {
  /** Base URL of its RPC, such as http://127.0.0.1:5001; user:password@ in it are sent as basic auth. */
  readonly url: string;
  /** How long its peers may take to come up with a block, in milliseconds. Default: 10 seconds. */
  readonly fetchMs?: number;
  /** How long it may neither say nor take anything, in milliseconds. Default: two minutes. */
  readonly silenceMs?: number;
}

/** The Kubo node of the operator, or a hosted one, behind its HTTP RPC. */
export interface KuboContent extends ContentStore {
  /** Asks the node who it is; `addresses` knows it from then on. Rejects with CONTENT_UNAVAILABLE. */
  listen(): Promise<void>;
}

/**
 * Opens a Kubo node. Asks nothing of it yet.
 *
 * What it is given it pins: a block of its own with itself, a file by its root. Kubo does not hash what it
 * reads from its own disk, so every block is hashed here; one that is damaged there counts as lost until
 * Kubo repairs it (`ipfs repo verify --heal`) or is given it again and writes through.
 */
export function openKuboContent(options: KuboOptions): KuboContent {
  return new KuboNode(options);
}

/** What Kubo has answered. */
interface Answer {
  readonly status: number;
  readonly body: Buffer;
  /** What went wrong after it had begun to answer. */
  readonly trailer: string;
}

interface CallOptions {
  readonly query?: Readonly<Record<string, string>>;
  /** The file of the call. */
  readonly file?: Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
  readonly signal?: AbortSignal | undefined;
  readonly silenceMs?: number;
}

class KuboNode implements KuboContent {
  readonly #base: URL;
  /** How it is named in messages: without user and password. */
  readonly #name: string;
  readonly #authorization: string | undefined;
  readonly #agent: HttpAgent;
  readonly #fetchMs: number;
  readonly #silenceMs: number;
  /** What ends the fetches under way. */
  readonly #fetches = new Set<AbortController>();
  #stopped = false;
  #addresses: string[] = [];

  constructor({ url, fetchMs = FETCH_MS, silenceMs = SILENCE_MS }: KuboOptions) {
    const { username, password, protocol, host, pathname } = new URL(url);
    const path = pathname.replace(/\/+$/, "").replace(/\/api\/v0$/, "");
    this.#name = `${protocol}//${host}${path}`;
    this.#base = new URL(`${this.#name}/api/v0/`);
    const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
    this.#authorization =
      username === "" && password === ""
        ? undefined
        : `Basic ${Buffer.from(credentials).toString("base64")}`;
    this.#agent = new (protocol === "https:" ? HttpsAgent : HttpAgent)({ keepAlive: true });
    this.#fetchMs = fetchMs;
    this.#silenceMs = silenceMs;
  }

  async listen(): Promise<void> {
    const { Addresses } = (await this.#json("id")) as { Addresses?: unknown };
    this.#addresses = Array.isArray(Addresses) ? Addresses.map(String) : [];
  }

  addresses(): string[] {
    return this.#addresses;
  }

  async put(block: Uint8Array): Promise<void> {
    const query = {
      "cid-codec": "raw",
      mhtype: "sha2-256",
      pin: "true",
      "allow-big-block": "true",
    };
    const { Key } = (await this.#json("block/put", { query, file: [block] })) as { Key?: unknown };
    const digest = sha256(block);
    if (Key !== cidOf(digest).toString())
      throw this.#unavailable("kept another block than it was given");
  }

  async keep(blocks: StagedBlocks): Promise<void> {
    const query = { "pin-roots": "true" };
    const { body } = await this.#ok("dag/import", { query, file: carOf(blocks) });
    const root = blocks.root.toString();
    for (const line of body.toString().split("\n").filter(Boolean)) {
      const { Root } = this.#parsed(line) as ImportLine;
      if (Root?.Cid?.["/"] !== root) continue;
      if ((Root.PinErrorMsg ?? "") === "") return;
      throw this.#unavailable(`cannot pin what it was given: ${Root.PinErrorMsg}`);
    }
    throw this.#unavailable("does not say that it has pinned what it was given");
  }

  async get(digest: Uint8Array, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    if (digest.length !== 32) throw new Error(`a SHA-256 has 32 bytes, not ${digest.length}`);
    signal?.throwIfAborted();
    if (this.#stopped) return undefined;
    const fetch = new AbortController();
    const abort = () => fetch.abort();
    this.#fetches.add(fetch);
    signal?.addEventListener("abort", abort);
    try {
      return await this.#fetch(digest, fetch.signal);
    } catch (error) {
      signal?.throwIfAborted();
      if (fetch.signal.aborted) return undefined;
      throw error;
    } finally {
      this.#fetches.delete(fetch);
      signal?.removeEventListener("abort", abort);
    }
  }

  async check(digest: Uint8Array): Promise<Condition> {
    const query = { arg: cidOf(digest).toString(), offline: "true" };
    const answer = await this.#call("block/get", { query });
    if (answer.status === 200) return sameBytes(sha256(answer.body), digest) ? "intact" : "altered";
    if (ABSENT.test(messageIn(answer))) return "missing";
    if (messageIn(answer).includes("different hash")) return "altered"; // it is told to hash what it reads
    throw this.#refusal(answer);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const fetch of this.#fetches) fetch.abort();
    this.#addresses = [];
    this.#agent.destroy();
  }

  async #fetch(digest: Uint8Array, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const query = { arg: cidOf(digest).toString(), timeout: `${this.#fetchMs}ms` };
    const silenceMs = this.#fetchMs + this.#silenceMs;
    const answer = await this.#call("block/get", { query, silenceMs, signal });
    if (answer.status === 200)
      return sameBytes(sha256(answer.body), digest) ? answer.body : undefined;
    const said = messageIn(answer);
    if (ABSENT.test(said) || LATE.test(said)) return undefined;
    throw this.#refusal(answer);
  }

  async #json(path: string, options?: CallOptions): Promise<unknown> {
    const { body } = await this.#ok(path, options);
    return this.#parsed(body.toString());
  }

  #parsed(text: string): unknown {
    try {
      return (JSON.parse(text) ?? {}) as unknown;
    } catch (error) {
      throw this.#unavailable("answers in another way than a Kubo RPC", error);
    }
  }

  async #ok(path: string, options?: CallOptions): Promise<Answer> {
    const answer = await this.#call(path, options);
    if (answer.status !== 200 || answer.trailer !== "") throw this.#refusal(answer);
    return answer;
  }

  /** Calls Kubo. Rejects with what the file rejects with, or with CONTENT_UNAVAILABLE. */
  async #call(path: string, options: CallOptions = {}): Promise<Answer> {
    const { query = {}, file, signal, silenceMs = this.#silenceMs } = options;
    const url = new URL(`${path}?${new URLSearchParams(query).toString()}`, this.#base);
    const headers: Record<string, string> = {};
    if (this.#authorization !== undefined) headers["Authorization"] = this.#authorization;
    if (file !== undefined) headers["Content-Type"] = `multipart/form-data; boundary=${BOUNDARY}`;
    try {
      return await exchange(
        url,
        {
          method: "POST",
          headers,
          agent: this.#agent,
          timeout: silenceMs,
          ...(signal && { signal }),
        },
        file === undefined ? [] : multipart(file),
      );
    } catch (error) {
      if (error instanceof AnchordError) throw error;
      throw this.#unavailable(`does not answer (${codeOf(error) || messageOf(error)})`, error);
    }
  }

  #refusal(answer: Answer): AnchordError {
    const { status } = answer;
    const said = messageIn(answer);
    if (/no space left|not enough space|disk quota/i.test(said)) {
      const message = `the disk under the Kubo node at ${this.#name} is full: free some space and try again`;
      return new AnchordError("STORAGE_FULL", message);
    }
    if (status === 401 || status === 403) {
      return this.#unavailable(`refuses the call (HTTP ${status}): check user and password`);
    }
    return this.#unavailable(
      `refuses the call (HTTP ${status}${said && `: ${said.slice(0, 200)}`})`,
    );
  }

  #unavailable(what: string, cause?: unknown): AnchordError {
    const message = `the Kubo node at ${this.#name} ${what}: see that it runs, and that IPFS_API_URL is right`;
    return new AnchordError("CONTENT_UNAVAILABLE", message, { cause });
  }
}

/** A line of what dag/import answers. */
interface ImportLine {
  readonly Root?: { readonly Cid?: { readonly "/"?: string }; readonly PinErrorMsg?: string };
}

/** The CID that Kubo is asked with: it finds blocks by their hash, whatever they are. */
function cidOf(digest: Uint8Array): CID {
  return CID.createV1(RAW, Digest.create(SHA2_256, digest));
}

/** What an error of Kubo says. */
function messageIn({ body, trailer }: Answer): string {
  if (trailer !== "") return trailer;
  try {
    const { Message } = JSON.parse(body.toString()) as { Message?: unknown };
    return typeof Message === "string" ? Message : "";
  } catch {
    return ""; // it is not Kubo that answers
  }
}

/** The file in CAR format, version 1. */
async function* carOf({ root, walk }: StagedBlocks): AsyncGenerator<Uint8Array> {
  const { writer, out } = CarWriter.create([root]);
  const closed = writer.close();
  yield* out; // nothing but the header, since no block was handed over
  await closed;
  for await (const { cid, bytes } of walk()) {
    const length = cid.bytes.length + bytes.length;
    const prefix = varint.encodeTo(length, new Uint8Array(varint.encodingLength(length)));
    yield Buffer.concat([prefix, cid.bytes]);
    yield bytes;
  }
}

async function* multipart(file: NonNullable<CallOptions["file"]>): AsyncGenerator<Uint8Array> {
  yield BEFORE;
  yield* file;
  yield AFTER;
}

/**
 * Sends a request with its body and reads the answer, which may come before all of the body has left.
 * Rejects with what the body rejects with, or with an Error of the connection.
 */
function exchange(
  url: URL,
  options: RequestOptions,
  body: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const send = url.protocol === "https:" ? httpsRequest : httpRequest;
    const request = send(url, options);
    request.once("timeout", () => request.destroy(new Error("it was silent for too long")));
    request.once("error", reject);
    request.once("response", (response) => {
      readAnswer(response)
        .then(resolve, reject)
        .finally(() => {
          if (!request.writableFinished) request.destroy(); // it does not want the rest
        });
    });
    pipeline(Readable.from(body, { objectMode: false }), request).catch(reject);
  });
}

async function readAnswer(response: IncomingMessage): Promise<Answer> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of response as AsyncIterable<Uint8Array>) {
    length += part.length;
    if (length > MAX_ANSWER_BYTES) throw new Error("it answers too much");
    parts.push(part);
  }
  const trailer = response.trailers["x-stream-error"] ?? "";
  return { status: response.statusCode ?? 0, body: Buffer.concat(parts), trailer };
}
