import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import type { Readable } from "node:stream";
import { Code, ConnectError } from "@connectrpc/connect";
import { Busboy } from "@fastify/busboy";
import type { BusboyHeaders, BusboyInstance } from "@fastify/busboy";
import { messageOf } from "../../core/errors.js";
import { RestError } from "./router.js";

/** A file that comes in a form. */
export interface FormFile {
  /** Without any folder and control characters, at most 255 characters; empty where the form names none. */
  readonly name: string;
  /** Empty where the form says none that can be one. */
  readonly mediaType: string;
  /** Its bytes, once. Throws where the form is not what it must be, also behind the file. */
  readonly bytes: AsyncIterable<Uint8Array>;
}

/** The field that the file comes in. */
const FIELD = "file";

/** Bounds of what a form may have besides the bytes of its file. */
const LIMITS = { parts: 100, fieldSize: 1_000, headerPairs: 50, headerSize: 16_384 } as const;

const MOST_NAME_CHARACTERS = 255;
const MEDIA_TYPE = /^[a-z0-9!#$&^_.+-]{1,120}\/[a-z0-9!#$&^_.+-]{1,120}$/;

/**
 * Hands over the one file of a multipart form while it comes in, no faster than its bytes are read. Throws a
 * RestError where the form has no file, or more than one.
 */
export async function takeFile<T>(
  request: IncomingMessage,
  take: (file: FormFile) => Promise<T>,
): Promise<T> {
  const form = formFor(request);
  const over = new AbortController();
  const file = fileOf(form);
  const whole = Promise.race([feed(form, request, over.signal), refusal(form)]);
  let wrong: unknown;
  whole.catch((error: unknown) => {
    wrong = error;
    over.abort();
    void file.then(({ stream }) => stream.destroy(error as Error));
  });
  try {
    const { name, mediaType, stream } = await Promise.race([file, whole.then(refuseWithout)]);
    return await take({ name, mediaType, bytes: bytesOf(stream, whole) });
  } catch (error) {
    throw wrong ?? error; // who takes the file knows only that its bytes ended
  } finally {
    over.abort();
  }
}

function formFor({ headers }: IncomingMessage): BusboyInstance {
  const type = headers["content-type"] ?? "";
  if (!/^multipart\/form-data\b/i.test(type)) {
    throw noFile(`send multipart/form-data with the file in the field "${FIELD}"`);
  }
  try {
    const options = { limits: LIMITS, preservePath: true };
    return new Busboy({ headers: headers as BusboyHeaders, ...options });
  } catch (error) {
    throw new RestError(400, `content-type: ${messageOf(error)}`);
  }
}

/** The first file in the right field. Its stream may be left alone: its errors are known otherwise. */
function fileOf(form: BusboyInstance) {
  return new Promise<Omit<FormFile, "bytes"> & { readonly stream: Readable }>((resolve) => {
    form.on("file", (field, stream, name: string | undefined, _encoding, mediaType) => {
      stream.on("error", () => undefined);
      if (field !== FIELD) return;
      resolve({
        name: fileName(name ?? ""),
        mediaType: MEDIA_TYPE.test(mediaType) ? mediaType : "",
        stream,
      });
    });
  });
}

/** Rejects as soon as a form has what it must not have. */
function refusal(form: BusboyInstance): Promise<never> {
  return new Promise((_, reject) => {
    let files = 0;
    form.on("file", (field, _stream, name: string | undefined) => {
      if (field !== FIELD) reject(noFile(`the form has a file in another field than "${FIELD}"`));
      else if (name === "") reject(noFile(`no file was chosen for the field "${FIELD}"`));
      else if (++files > 1) reject(new RestError(400, "Send one file at a time"));
    });
    form.on("field", (field) => {
      if (field === FIELD) reject(noFile(`the field "${FIELD}" has text, and no file name`));
    });
    form.on("partsLimit", () =>
      reject(new RestError(400, `The form has more than ${LIMITS.parts} parts`)),
    );
    form.on("error", (error) =>
      reject(new RestError(400, `The form cannot be read: ${messageOf(error)}`)),
    );
  });
}

/**
 * Feeds a form with the body of its request. Once it is over, what is left of the body is read and dropped,
 * or its sender would not see the answer.
 */
async function feed(
  form: BusboyInstance,
  request: IncomingMessage,
  over: AbortSignal,
): Promise<void> {
  const happens = (event: string) => once(form, event, { signal: over }).catch(() => undefined);
  try {
    for await (const bytes of request as AsyncIterable<Buffer>) {
      if (!over.aborted && !form.write(bytes)) await happens("drain");
    }
  } catch {
    throw new RestError(400, "The upload was cut");
  }
  if (over.aborted) return;
  form.end();
  await happens("finish");
}

/** The bytes of a file, which counts only where the form around it is whole: else nobody asks for it. */
async function* bytesOf(stream: Readable, whole: Promise<void>): AsyncGenerator<Uint8Array> {
  try {
    yield* stream as AsyncIterable<Uint8Array>;
    await whole;
  } catch (error) {
    throw new ConnectError("the form is not whole", Code.Canceled, undefined, undefined, error);
  }
}

function refuseWithout(): never {
  throw noFile(`the form has no file in the field "${FIELD}"`);
}

function noFile(note: string): RestError {
  return new RestError(400, "No file provided", note);
}

/** A name as evidence may have it. What is too long keeps its end, which has the extension. */
function fileName(given: string): string {
  const name = given.replace(/^.*[/\\]/s, "").replace(/\p{Cc}/gu, "");
  return name === "." || name === ".." ? "" : [...name].slice(-MOST_NAME_CHARACTERS).join("");
}
