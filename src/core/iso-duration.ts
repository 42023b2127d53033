/** The longest duration that is taken, in seconds: 100 years of 365.25 days. */
export const LONGEST_DURATION = 3_155_760_000;

const FORM = /^P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$/;

/** Seconds of each part of the form, in its order: weeks, days, hours, minutes, seconds. */
const SECONDS = [604_800, 86_400, 3_600, 60, 1] as const;

/**
 * The seconds of an ISO 8601 duration of weeks, days, hours, minutes and seconds, such as "P1DT12H"; a day
 * has 24 hours. Throws an Error that says what is wrong: years and months have no fixed length, and fractions
 * and what is longer than LONGEST_DURATION are not taken either.
 */
export function durationSeconds(text: string): number {
  const [, ...parts] = FORM.exec(text) ?? [];
  if (parts.every((part) => part === undefined) || text.endsWith("T")) throw refused(text);
  const seconds = SECONDS.reduce((sum, unit, i) => sum + unit * Number(parts[i] ?? 0), 0);
  if (seconds > LONGEST_DURATION) throw new Error(`"${text}" is longer than 100 years`);
  return seconds;
}

function refused(text: string): Error {
  if (/^P\d+W?[^T]*[YM]/.test(text)) {
    return new Error(
      `"${text}" has years or months, which have no fixed length: use days or weeks`,
    );
  }
  if (/^P[0-9WDTHMS]*[.,]/.test(text)) {
    return new Error(`"${text}" has a fraction: use whole numbers, such as PT90M`);
  }
  return new Error(`"${text}" is no ISO 8601 duration, such as PT48H or P3D`);
}
