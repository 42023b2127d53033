const encodings = new WeakMap<object, Uint8Array>();

/** Says what a message is in bytes, so that a door that needs those does not encode it again. */
export function encodedAs<T extends object>(message: T, bytes: Uint8Array): T {
  encodings.set(message, bytes);
  return message;
}

/** A message in bytes, where somebody has said so. */
export function encodingOf(message: object): Uint8Array | undefined {
  return encodings.get(message);
}
