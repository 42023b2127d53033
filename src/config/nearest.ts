/** Longer words are nobody's slip of the keys, and dear to compare. */
const LONGEST = 64;

/** The candidate that a word was probably meant to be: about a third of its letters may differ. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  if (word.length > LONGEST) return undefined;
  const plain = word.toLowerCase().replaceAll("-", "_");
  const [best] = candidates
    .map((candidate) => ({ candidate, steps: editDistance(plain, candidate) }))
    .sort((a, b) => a.steps - b.steps);
  return best !== undefined && best.steps <= Math.ceil(plain.length / 3)
    ? best.candidate
    : undefined;
}

/** How many letters must be added, removed or replaced to make one word of the other. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, i) => i);
  for (const [i, letter] of [...from].entries()) {
    const next = [i + 1];
    for (let j = 0; j < to.length; j++) {
      const replaced = (row[j] ?? 0) + (to[j] === letter ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
