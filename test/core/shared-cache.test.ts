import { expect } from "chai";
import { SharedCache } from "../../src/core/shared-cache.js";

describe("shared cache", () => {
  let made: string[];
  let cache: SharedCache<string>;

  beforeEach(() => {
    made = [];
    cache = new SharedCache(10, (value) => value.length);
  });

  const get = (key: string, value = key) =>
    cache.get(key, () => {
      made.push(key);
      return Promise.resolve(value);
    });

  it("makes a value once for all who ask before it is there, and after", async () => {
    const values = await Promise.all([get("abc"), get("abc")]);
    expect([...values, await get("abc")]).to.deep.equal(["abc", "abc", "abc"]);
    expect(made).to.deep.equal(["abc"]);
  });

  it("forgets what was least used once there is too much", async () => {
    for (const key of ["aaaa", "bbbb", "aaaa", "cccc"]) await get(key);
    await get("aaaa");
    await get("bbbb");
    expect(made).to.deep.equal(["aaaa", "bbbb", "cccc", "bbbb"]);
  });

  it("keeps nothing that alone is too much, and everything else", async () => {
    await get("a");
    await get("much", "x".repeat(11));
    await get("much", "x".repeat(11));
    expect(made).to.deep.equal(["a", "much", "much"]);
  });

  it("makes a value anew that could not be made", async () => {
    const failing = cache.get("a", () => Promise.reject(new Error("not now")));
    expect(await failing.catch((error: Error) => error.message)).to.equal("not now");
    expect(await get("a")).to.equal("a");
  });

  it("makes everything anew once it was cleared, also what was in the making", async () => {
    const early = get("a");
    cache.clear();
    await early;
    await get("a");
    expect(made).to.deep.equal(["a", "a"]);
  });

  it("keeps what came along with another, unless it is there", async () => {
    cache.put("a", "along");
    expect(await get("a")).to.equal("along");
    cache.put("a", "again");
    expect(await get("a")).to.equal("along");
    expect(made).to.deep.equal([]);
  });
});
