const GROUPED = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** A number with its thousands apart, such as 1,234,567. */
export function grouped(value: number): string {
  return GROUPED.format(value);
}

/** A number in short, such as 1.2M. */
export function compact(value: number): string {
  return COMPACT.format(value);
}
