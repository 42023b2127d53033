import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import type { Logger } from "pino";
import type { Database } from "../store/database.js";
import { currentLease, holdLease, releaseLease } from "../store/leases.js";
import { Loop } from "./loop.js";

const LEASE = "leader";
const LEASE_MS = 10_000;
const RENEW_MS = 2_000;

/**
 * Decides which of several daemons on one database seals and follows. The lease keeps them from
 * working twice; that nothing goes wrong if they do is the contract's doing, which accepts only the
 * next batch on the current head.
 */
export class Leader {
  readonly #me = `${hostname()}/${process.pid}/${randomBytes(8).toString("hex")}`;
  readonly #loop: Loop;
  #heldUntil = 0;

  constructor(
    private readonly database: Database,
    /** Called when this daemon becomes the leader. */
    private readonly onElected: () => void,
    log: Logger,
  ) {
    this.#loop = new Loop("lead", () => this.#renew(), { idleMs: RENEW_MS, log });
  }

  /** Whether this daemon may seal and follow now. */
  get leads(): boolean {
    return performance.now() < this.#heldUntil;
  }

  /** What writing the lease last failed with: nothing can be stored. Undefined if it did not. */
  get failure(): string | undefined {
    return this.#loop.failure;
  }

  start(): void {
    this.#loop.start();
  }

  /** Takes the lease now, if nobody else has it. Returns whether this process leads. */
  async claim(): Promise<boolean> {
    await this.#renew();
    return this.leads;
  }

  /** Gives the lease back, so that another daemon takes over at once. */
  async stop(): Promise<void> {
    await this.#loop.stop();
    if (this.leads) await releaseLease(this.database, LEASE, this.#me).catch(() => undefined);
    this.#heldUntil = 0;
  }

  /** Whether somebody leads, this daemon or another. */
  async isLed(): Promise<boolean> {
    const lease = await currentLease(this.database, LEASE);
    return lease !== undefined && lease.remaining > 0;
  }

  async #renew() {
    const led = this.leads;
    const asked = performance.now();
    const held = await holdLease(this.database, LEASE, this.#me, LEASE_MS, hasEnded);
    this.#heldUntil = held ? asked + LEASE_MS : 0;
    if (held && !led) this.onElected();
    return "idle" as const;
  }
}

/** Whether a holder was a process of this host that has ended: a restart need not wait for its lease. */
function hasEnded(holder: string): boolean {
  const [host, pid] = holder.split("/");
  if (host !== hostname()) return false;
  if (Number(pid) === process.pid) return true;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}
