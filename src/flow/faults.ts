/**
 * Named points at which a test can cut the process short, as a power cut would: with
 * `ANCHORD_FAULT=name` the process kills itself when it gets there, with `name:n` at the n-th time.
 */
export type FaultPoint =
  | "accept.before-commit"
  | "accept.after-commit"
  | "seal.before-commit"
  | "seal.after-commit"
  | "submit.before-broadcast"
  | "submit.after-broadcast"
  | "follow.before-commit"
  | "follow.after-commit"
  | "publish.before-manifest"
  | "publish.before-commit"
  | "evidence.before-commit"
  | "evidence.after-commit"
  | "evidence.after-keep"
  | "anchor.before-commit"
  | "anchor.after-commit"
  | "sla.before-commit"
  | "sla.after-commit"
  | "work.after-commit"
  | "sign.before-commit"
  | "sign.after-commit"
  | "keeper.before-commit"
  | "keeper.after-commit"
  | "adopt.before-commit"
  | "adopt.after-commit";

let armed: { readonly name: string; left: number } | undefined;

/** Arms one point; called once, by the composition root. */
export function armFault(text: string | undefined): void {
  const [name, count] = text?.split(":") ?? [];
  armed = name === undefined || name === "" ? undefined : { name, left: Number(count ?? 1) };
}

/** Dies here if this point is armed. */
export async function faultPoint(name: FaultPoint): Promise<void> {
  if (armed?.name !== name) return;
  armed.left -= 1;
  if (armed.left > 0) return;
  process.kill(process.pid, "SIGKILL");
  await new Promise(() => undefined); // the signal is on its way: go no further
}
