/** What becomes of a key that the trading bot's plugin had in its config.yaml. */
export type PluginKey =
  /** It is a setting. */
  | { readonly fate: "honoured" }
  /** It is accepted and means nothing. */
  | { readonly fate: "ignored" }
  /** It is accepted where it is off, or has one of these values, and else refused. */
  | {
      readonly fate: "only off";
      readonly alsoAccepted: readonly string[];
      /** Why it cannot be had, and what to do instead. */
      readonly reason: string;
    };

const honoured: PluginKey = { fate: "honoured" };
const ignored: PluginKey = { fate: "ignored" };
const onlyOff = (reason: string, ...alsoAccepted: string[]): PluginKey => ({
  fate: "only off",
  alsoAccepted,
  reason,
});

/** Every key that the plugin knew, in its order. */
export const PLUGIN_KEYS: Readonly<Record<string, PluginKey>> = {
  enabled: honoured,
  name: ignored,
  description: ignored,
  version: ignored,
  category: ignored,
  mining_interval: honoured,
  difficulty: honoured,
  db_path: honoured,
  auto_mine: honoured,
  record_types: honoured,
  max_chain_size: onlyOff(
    "an audit trail is only ever added to, so its size cannot be limited. Leave it out",
  ),
  prune_older_than: onlyOff(
    "an audit trail is only ever added to, so nothing of it is pruned. Leave it out; event_retention_days " +
      "limits how long events are kept for subscribers",
  ),
  encrypt_sensitive_data: onlyOff(
    "records are kept as they are, in the database of this service. Leave it out; what is published is always " +
      "encrypted (content_key), and for the rest encrypt the disk",
  ),
  hash_algorithm: onlyOff(
    "hashes are SHA-256, which receipts and contracts are made of. Leave it out, or set it to sha256",
    "sha256",
    "sha-256",
  ),
  expose_api: honoured,
  api_endpoints: onlyOff(
    "every call of the API is served to whoever has a token. Leave it out; a proxy before PORT can refuse some",
  ),
  log_level: honoured,
  log_to_file: honoured,
  log_file: honoured,
};

/** How the plugin's users say that something is off, besides leaving it empty. */
const OFF: readonly string[] = ["", "0", "false", "none", "no", "off"];

/** Whether a text says that something is off, or is one of these values. */
export function isOffOr(values: readonly string[], text: string): boolean {
  return [...OFF, ...values].includes(text.toLowerCase());
}
