import { createReadStream } from "node:fs";
import type { Readable } from "node:stream";

/** So many bytes are read before anybody decides what they are. */
const START_BYTES = 16;

/** A file, or standard input, that was found to be readable. */
export class Input {
  private constructor(
    /** As it was given. */
    readonly name: string,
    /** What it begins with: at least 16 bytes, where it has so many. */
    readonly start: Uint8Array,
    private readonly stream: Readable,
    private readonly rest: AsyncIterator<Uint8Array>,
  ) {}

  /** Opens a file by its name, or standard input for "-". Rejects as the file system does. */
  static async open(name: string): Promise<Input> {
    const stream: Readable = name === "-" ? process.stdin : createReadStream(name);
    const rest = stream[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
    let start: Uint8Array = new Uint8Array(0);
    while (start.length < START_BYTES) {
      const next = await rest.next();
      if (next.done === true) break;
      start = Buffer.concat([start, next.value]);
    }
    return new Input(name, start, stream, rest);
  }

  /** All of its bytes. Called once. */
  async *bytes(): AsyncGenerator<Uint8Array> {
    yield this.start;
    for (let next = await this.rest.next(); next.done !== true; next = await this.rest.next()) {
      yield next.value;
    }
  }

  /** All of its bytes as UTF-8. Called in place of `bytes`. */
  async text(): Promise<string> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of this.bytes()) chunks.push(chunk);
    return Buffer.concat(chunks).toString("utf8");
  }

  /** Lets go of it, read to its end or not. */
  close(): void {
    this.stream.destroy();
  }
}
