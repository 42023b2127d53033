interface Kept<V> {
  readonly value: Promise<V>;
  weight: number;
}

/** Values that many ask for, each made once however many wait for it; what was least used goes first. */
export class SharedCache<V> {
  readonly #kept = new Map<string, Kept<V>>();
  #weight = 0;

  constructor(
    /** How much is kept, in the unit of `weigh`. */
    private readonly most: number,
    private readonly weigh: (value: V) => number,
  ) {}

  /** The value of a key, made if nobody has made it. What fails is made anew when it is next asked for. */
  get(key: string, make: () => Promise<V>): Promise<V> {
    const known = this.#kept.get(key);
    if (known === undefined) return this.#make(key, make);
    this.#kept.delete(key);
    this.#kept.set(key, known);
    return known.value;
  }

  /** Keeps a value that came along with another. */
  put(key: string, value: V): void {
    if (this.#kept.has(key)) return;
    const kept = { value: Promise.resolve(value), weight: 0 };
    this.#kept.set(key, kept);
    this.#weighed(key, kept, value);
  }

  /** Forgets everything. */
  clear(): void {
    this.#kept.clear();
    this.#weight = 0;
  }

  #make(key: string, make: () => Promise<V>): Promise<V> {
    const kept: Kept<V> = { value: make(), weight: 0 };
    this.#kept.set(key, kept);
    kept.value.then(
      (value) => this.#weighed(key, kept, value),
      () => this.#forget(key, kept),
    );
    return kept.value;
  }

  #weighed(key: string, kept: Kept<V>, value: V): void {
    if (this.#kept.get(key) !== kept) return;
    kept.weight = this.weigh(value);
    this.#weight += kept.weight;
    for (const [oldest, entry] of this.#kept) {
      if (this.#weight <= this.most) return;
      if (entry.weight > 0) this.#forget(oldest, entry); // else it is still in the making
    }
  }

  #forget(key: string, kept: Kept<V>): void {
    if (this.#kept.get(key) !== kept) return;
    this.#kept.delete(key);
    this.#weight -= kept.weight;
  }
}
