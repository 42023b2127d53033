#!/usr/bin/env python3
"""Checks an anchord receipt: python3 verify.py receipt.json --rpc URL

Needs Python 3.8 or later and nothing else, and shares no code with the service. docs/receipts.md
specifies every byte. The steps, in order:

  format    the JSON is a receipt, and all of its parts are there
  entry     the entry's bytes are the one encoding of a record
  identity  chain, contract and log are the expected ones, and the RPC node serves that chain
  contract  an AuditLog contract answers at that address
  path      the Merkle path has the length that the record's place in its batch asks for
  root      entry, place in the trail, and path lead to the batch's root
  batch     the contract has that root and size under the batch's number
  head      the batch's fields lead from the head before it to the head that the contract has
  anchor    transaction, block and block time are as the receipt says

Exit codes: 0 valid, 1 a step failed, 2 bad usage, 3 not anchored yet, 4 RPC node out of reach.
"""
import argparse, base64, hashlib, http.client, json, math, re, struct, sys
import urllib.error, urllib.parse, urllib.request
from datetime import datetime, timedelta
from decimal import Decimal

STEPS = ("format", "entry", "identity", "contract", "path", "root", "batch", "head", "anchor")
EXIT = {"valid": 0, "invalid": 1, "not-anchored": 3, "unreachable": 4}
EPOCH = datetime(1970, 1, 1)


class Failed(Exception):
    """A step does not hold: Failed(step, message)."""


class Unreachable(Exception):
    """The RPC node gives no answer, or none that can be understood."""


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def u64(number):
    return number.to_bytes(8, "big")


def number_of(data):
    return int.from_bytes(data, "big")


# ---- Entry: canonical proto3 ---------------------------------------------------------------------
# A message's fields as "name:kind", numbered from 1. A kind that is no scalar is an enum or a message.
# `free` is the free part of a body: an entry leaves it unset and keeps it, as JSON, in its `details`.
# `optional` is a uint64 that may be unset, which is not the same as 0: a 0 that is set is written.

def fields(text, first=1):
    return {number: tuple(field.split(":")) for number, field in enumerate(text.split(), first)}


BODIES = fields("threat:Threat trade:Trade order:Order system_change:SystemChange login:Login "
                "config_change:ConfigChange complaint:Complaint custom:Custom "
                "evidence_added:EvidenceAdded evidence_checked:EvidenceChecked", first=16)
MESSAGES = {
    "Entry": {**fields("salt:bytes accept_time:Timestamp caller:string request_id:string request_hash:bytes "
                       "subject:string actor:string occur_time:Timestamp details:string"), **BODIES},
    "Timestamp": fields("seconds:int64 nanos:int32"),
    "Threat": fields("score:double duration_minutes:double scale:ThreatScale severity:ThreatSeverity "
                     "details:free"),
    "Trade": fields("trade_id:string symbol:string side:Side quantity:double price:double "
                    "order_type:string details:free"),
    "Order": fields("order_id:string symbol:string side:Side quantity:double price:double "
                    "order_type:string status:string details:free"),
    "SystemChange": fields("component:string change_type:string details:free"),
    "Login": fields("user:string success:bool source:string method:string details:free"),
    "ConfigChange": fields("key:string old_value:string new_value:string details:free"),
    "Complaint": fields("event_type:string assignee:string status:string details:free"),
    "Custom": fields("type:string data:free"),
    "EvidenceAdded": fields("sha256:string cid:string size:optional file_name:string media_type:string "
                            "derived_from:string content_kept:bool details:free"),
    "EvidenceChecked": fields("evidence_id:string sha256:string cid:string state:ContentState "
                              "previous_state:ContentState size:uint64"),
}
ENUMS = {name: [f"{prefix}_{value}" for value in values.split()] for name, prefix, values in (
    ("Side", "SIDE", "UNSPECIFIED BUY SELL"),
    ("ThreatScale", "THREAT_SCALE", "UNSPECIFIED HUNDRED UNIT"),
    ("ThreatSeverity", "THREAT_SEVERITY", "UNSPECIFIED LOW MEDIUM HIGH CRITICAL"),
    ("ContentState", "CONTENT_STATE", "UNSPECIFIED NONE PENDING INTACT MISSING ALTERED"))}
DEFAULTS = {"bytes": b"", "string": "", "double": 0.0, "bool": False, "int32": 0, "int64": 0, "uint64": 0,
            **{enum: names[0] for enum, names in ENUMS.items()}}


def take(data, at, length):
    """So many bytes from an offset, and the offset after them."""
    if at + length > len(data):
        raise ValueError("the encoding ends within a field")
    return data[at:at + length], at + length


def varint(data, at):
    """The varint at an offset, in its shortest form and below 2^64, and the offset after it."""
    value, shift, (byte,) = 0, 0, b"\x80"
    while byte & 0x80:
        (byte,), at = take(data, at, 1)
        value |= (byte & 0x7F) << shift
        shift += 7
    if (byte == 0 and shift > 7) or value >= 2**64:
        raise ValueError("a varint is not in its shortest form")
    return value, at


def decode(data, message):
    """The fields of a canonical encoding; a message or an optional that it does not have is None."""
    schema, last, at = MESSAGES[message], 0, 0
    found = {name: DEFAULTS.get(kind) for name, kind in schema.values() if kind != "free"}
    while at < len(data):
        tag, at = varint(data, at)
        number, wire_type = tag >> 3, tag & 7
        if number <= last or number not in schema:
            raise ValueError(f"field {number} of {message} is unknown, repeated or out of order")
        last, (name, kind) = number, schema[number]
        if kind == "free":
            raise ValueError("the body has details of its own")
        if wire_type != (1 if kind == "double" else 2 if kind in ("bytes", "string", *MESSAGES) else 0):
            raise ValueError(f"{name} has wire type {wire_type}")
        if wire_type == 0:
            value, at = varint(data, at)
            unsigned = kind in ("uint64", "optional")
            value -= 2**64 if value >= 2**63 and not unsigned else 0
            low, high = {"bool": (0, 1), "int64": (-2**63, 2**63 - 1)}.get(kind, (-2**31, 2**31 - 1))
            if (value == 0 and kind != "optional") or not (unsigned or low <= value <= high):
                raise ValueError(f"{name} is out of range, or a default that is written")
            if kind == "bool":
                value = True
            elif kind in ENUMS and 0 < value < len(ENUMS[kind]):
                value = ENUMS[kind][value]
        else:
            length, at = (8, at) if wire_type == 1 else varint(data, at)
            value, at = take(data, at, length)
            if kind in MESSAGES:
                value = decode(value, kind)
            elif value == (bytes(8) if kind == "double" else b""):
                raise ValueError(f"{name} is a default that is written")
            elif kind == "string":
                value = value.decode("utf-8")
            elif kind == "double":
                (value,) = struct.unpack("<d", value)
                if not math.isfinite(value):
                    raise ValueError(f"{name} is not finite")
        found[name] = value
    return found


def decode_entry(data):
    """The record in an entry's bytes, by the names of the proto files. Raises ValueError."""
    entry = decode(data, "Entry")
    for holds, problem in (
        (len(entry["salt"]) == 16, "salt is not 16 bytes"),
        (entry["accept_time"] is not None and entry["occur_time"] is not None, "a time is missing"),
        (len(entry["request_hash"]) == (32 if entry["request_id"] else 0),
         "request_id and request_hash do not go together"),
        (sum(entry[name] is not None for name, _ in BODIES.values()) == 1, "there is not exactly one body"),
        (not entry["details"] or is_canonical_object(entry["details"]),
         "details are not a canonical JSON object"),
        (not entry["details"] or entry["evidence_checked"] is None, "an evidence_checked has no details"),
    ):
        if not holds:
            raise ValueError(problem)
    return entry


# ---- Details: RFC 8785 (canonical JSON) ----------------------------------------------------------

def canonical_number(value):
    """A double as ECMAScript writes it. Like Python, it takes the fewest digits that give it back."""
    if not math.isfinite(value):
        raise ValueError("a number is not finite")
    digits = Decimal(repr(value)).normalize()
    return "0" if value == 0 else format(digits, "f" if 1e-6 <= abs(value) < 1e21 else "e")


def canonical(value, levels=32):
    """A JSON value in canonical form. Raises ValueError where it nests deeper than the levels."""
    if isinstance(value, float):
        return canonical_number(value)
    if not isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    if levels == 0:
        raise ValueError("nested too deep")
    if isinstance(value, list):
        return "[" + ",".join(canonical(item, levels - 1) for item in value) + "]"
    names = sorted(value, key=lambda name: name.encode("utf-16-be"))  # by UTF-16 code units
    return "{" + ",".join(canonical(name) + ":" + canonical(value[name], levels - 1) for name in names) + "}"


def is_canonical_object(text):
    try:
        value = json.loads(text, parse_int=float)
        return isinstance(value, dict) and canonical(value) == text
    except (ValueError, RecursionError):
        return False


# ---- Receipt: proto3 JSON ------------------------------------------------------------------------

STATES = "RECORD_STATE_(ACCEPTED|ANCHORED|FINAL)"
RECEIPT = {
    "entry": "bytes",
    "identity": {"chainId": "uint64", "contract": "string", "log": "bytes"},
    "trail": {"index": "uint64", "previousLeaf": "bytes"},
    "inclusion": {"leafIndex": "uint64", "path": ["bytes"]},
    "batch": {"number": "uint64", "previousHead": "bytes", "root": "bytes", "size": "uint64",
              "manifestDigest": "bytes", "trailsRoot": "bytes", "nonce": "uint64"},
    "anchor": {"transactionHash": "string", "blockNumber": "uint64", "blockHash": "string",
               "blockTime": "time"},
}
PARTS = tuple(RECEIPT)[1:]
ABSENT = {"bytes": b"", "string": "", "uint64": 0}


def read_json(value, shape, where):
    """A value of proto3 JSON, written in the one way that there is: defaults are left out."""
    try:
        if isinstance(shape, dict):
            unknown = [name for name in value.keys() if name not in shape]
            if unknown:
                raise Failed("format", f"{where} has an unknown member {unknown[0]!r}")
            return {name: read_json(value[name], inner, f"{where}.{name}") if name in value
                    else [] if isinstance(inner, list) else ABSENT.get(str(inner))
                    for name, inner in shape.items()}
        if isinstance(shape, list):
            if isinstance(value, list) and value:
                return [b"" if item == "" else read_json(item, shape[0], where) for item in value]
        elif shape == "bytes":
            data = base64.b64decode(value.encode("ascii"), validate=True)
            if data and base64.b64encode(data).decode() == value:
                return data
        elif shape == "uint64":
            if re.fullmatch("[1-9][0-9]{0,19}", value) and int(value) < 2**64:
                return int(value)
        elif shape == "time":
            parts = re.fullmatch("([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})Z", value)
            return (datetime(*map(int, parts.groups())) - EPOCH) // timedelta(seconds=1)
        elif re.fullmatch(STATES if shape == "state" else "(?s).+", value):
            return value
    except (AttributeError, TypeError, ValueError):
        pass
    raise Failed("format", f"{where} is not as a receipt has it")


def read_receipt(text):
    """The receipt in the JSON of a GetReceiptResponse, or of a Receipt alone."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Failed("format", f"this is not JSON: {error}")
    if isinstance(value, dict) and "receipt" in value:
        return read_json(value, {"receipt": RECEIPT, "state": "state"}, "the file")["receipt"]
    return read_json(value, RECEIPT, "receipt")


def require_complete(receipt):
    """The second half of the step "format": what is not there yet while a record is not anchored."""
    if any(receipt[part] is None for part in PARTS) or receipt["anchor"]["blockTime"] is None:
        raise Failed("format", "the receipt has some of its parts, but not all")
    digests = {f"{part}.{name}": receipt[part][name] for part, shape in RECEIPT.items() if part in PARTS
               for name, kind in shape.items() if kind == "bytes"}
    digests.update((f"inclusion.path[{i}]", node) for i, node in enumerate(receipt["inclusion"]["path"]))
    for where, digest in digests.items():
        if len(digest) != 32:
            raise Failed("format", f"{where} is not 32 bytes")
    for part, name, digits in (("identity", "contract", 40), ("anchor", "transactionHash", 64),
                               ("anchor", "blockHash", 64)):
        if not re.fullmatch("0x[0-9a-f]{%d}" % digits, receipt[part][name]):
            raise Failed("format", f"{part}.{name} is not 0x and {digits} lower-case hex digits")


# ---- Chain: JSON-RPC, and the ABI of the AuditLog contract ---------------------------------------

CONTRACT_NAME = "0x75d0c0dc"  # the first 4 bytes of Keccak-256("contractName()")
VERSION = "0x54fd4d50"        # of Keccak-256("version()")
BATCH_OF = "0x6f74911f"       # of Keccak-256("batchOf(bytes32,uint64)")
# The string "anchord.AuditLog" as a view returns it: offset, length, contents. And the number 1.
NAME_ANSWER = bytes(31) + b"\x20" + bytes(31) + b"\x10" + b"anchord.AuditLog" + bytes(16)
VERSION_ANSWER = bytes(31) + b"\x01"


class Chain:
    """A node of the chain, asked by JSON-RPC."""

    def __init__(self, url, timeout=20):
        self.url, self.timeout = url, timeout

    def ask(self, method, params, read):
        """What `read` makes of the node's answer, an object with `result` or `error`."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})
        try:
            try:
                with urllib.request.urlopen(request, timeout=self.timeout) as response:
                    text = response.read()
            except urllib.error.HTTPError as error:  # some nodes send their errors with status 400 or 500
                text = error.read()
            answer = json.loads(text)
            if answer.get("error") is None:
                return read(answer["result"])
            error = json.dumps(answer["error"]).lower()
            if method == "eth_call" and re.search(r'"code": 3\b|revert|invalid opcode|vm exception', error):
                return b""
        except (OSError, http.client.HTTPException, AttributeError, KeyError, TypeError, ValueError,
                RecursionError) as error:
            raise Unreachable(f"{method}: {type(error).__name__}: {error}")
        raise Unreachable(f"{method}: {error}")

    def call(self, contract, data):
        """What a view returns; nothing where there is no such contract or view, or it reverts."""
        return self.ask("eth_call", [{"to": contract, "data": data}, "latest"], unhex)

    def chain_id(self):
        return self.ask("eth_chainId", [], lambda answer: number_of(unhex(answer)))

    def is_audit_log(self, contract):
        return (self.call(contract, CONTRACT_NAME) == NAME_ANSWER
                and self.call(contract, VERSION) == VERSION_ANSWER)

    def batch(self, contract, log, number):
        """Root, head, size and block time of a batch; None where the contract has no such batch."""
        words = self.call(contract, BATCH_OF + log.hex() + "%064x" % number)
        if len(words) != 128 or words == bytes(128):
            return None
        return words[:32], words[32:64], number_of(words[64:96]), number_of(words[96:])

    def block_of(self, transaction):
        """Number and hash of a transaction's block; None where it is in none."""
        return self.ask("eth_getTransactionReceipt", [transaction], lambda found:
                        (number_of(unhex(found["blockNumber"])), found["blockHash"].lower())
                        if found and found["blockNumber"] else None)


def unhex(text):
    """The bytes of 0x and hex digits; a number may have an odd count of them."""
    if not re.fullmatch("0x[0-9a-fA-F]*", text):
        raise ValueError(f"{text!r} is not 0x and hex digits")
    return bytes.fromhex("0" * (len(text) % 2) + text[2:])


# ---- The check -----------------------------------------------------------------------------------

def root_from_path(leaf, index, size, path):
    """The root that a leaf and its path lead to (RFC 9162, section 2.1.3.2), or None."""
    node, last = leaf, size - 1
    for sibling in path:
        if last == 0:
            return None
        if index % 2 == 1 or index == last:
            node = sha256(b"\1", sibling, node)
            while index % 2 == 0 and index != 0:
                index, last = index // 2, last // 2
        else:
            node = sha256(b"\1", node, sibling)
        index, last = index // 2, last // 2
    return node if last == 0 else None


def check(text, chain, expected, found):
    """Returns "valid" or "not-anchored"; raises Failed or Unreachable.

    Fills `found` as it goes: `id` and `entry`, the steps `passed`, the block's `time`.
    """
    receipt = read_receipt(text)
    try:
        found["entry"] = decode_entry(receipt["entry"])
    except ValueError as error:
        raise Failed("entry", f"the entry cannot be read: {error}")
    found["id"] = sha256(receipt["entry"]).hex()
    bare = all(receipt[part] is None for part in PARTS)
    if not bare:
        require_complete(receipt)
    found["passed"] = STEPS[:2]
    if bare:
        return "not-anchored"
    identity, trail, inclusion, batch, anchor = (receipt[part] for part in PARTS)

    def step(name, holds, message):
        if not holds:
            raise Failed(name, message)
        found["passed"] = STEPS[:STEPS.index(name) + 1]

    for name, ours in expected.items():
        if ours is not None and ours != identity[name]:
            raise Failed("identity", f"the receipt has {name} {text_of(identity[name])}, not {text_of(ours)}")
    actual = chain.chain_id()
    step("identity", actual == identity["chainId"],
         f"the receipt is for chain {identity['chainId']}, but the RPC node serves chain {actual}")

    contract, log = identity["contract"], identity["log"]
    step("contract", chain.is_audit_log(contract), f"no AuditLog contract answers at {contract}")

    index, size = inclusion["leafIndex"], batch["size"]
    leaf = sha256(b"\0", sha256(receipt["entry"]), u64(trail["index"]), trail["previousLeaf"])
    root = root_from_path(leaf, index, size, inclusion["path"]) if index < size else None
    step("path", root is not None, f"the path is not one of leaf {index} in a batch of {size}")
    step("root", root == batch["root"], f"entry, trail and path lead to another root: {text_of(root)}")

    number = batch["number"]
    on_chain = chain.batch(contract, log, number) if number else None
    step("batch", on_chain is not None, f"the chain has no batch {number} in this log")
    chain_root, chain_head, chain_size, time = on_chain
    step("batch", (chain_root, chain_size) == (root, size),
         f"on chain, batch {number} has root {chain_root.hex()} and size {chain_size}")

    if number == 1:
        chain_id = identity["chainId"].to_bytes(32, "big")
        previous = sha256(b"anchord/head/v1", chain_id, unhex(contract), log)
    else:
        _, previous, _, _ = chain.batch(contract, log, number - 1) or (None,) * 4
    step("head", previous == batch["previousHead"], "previousHead is not the head of the batch before")
    head = sha256(previous, u64(number), root, u64(size), batch["manifestDigest"], batch["trailsRoot"],
                  u64(batch["nonce"]))
    step("head", head == chain_head, "the batch's fields do not lead to its head on chain")

    again = "; the record itself is on the chain: fetch the receipt again"
    block = chain.block_of(anchor["transactionHash"])
    step("anchor", block is not None, f"the transaction is in no block{again}")
    step("anchor", block == (anchor["blockNumber"], anchor["blockHash"]),
         f"the transaction is in block {block and block[0]} {block and block[1]}{again}")
    step("anchor", time == anchor["blockTime"], f"the contract has block time {iso_time(time)}{again}")
    found["time"] = time
    return "valid"


# ---- Output --------------------------------------------------------------------------------------

def iso_time(seconds, nanos=0):
    """A time in UTC, to the nanosecond where it has one; plain numbers where no calendar has it."""
    try:
        text = (EPOCH + timedelta(seconds=seconds)).isoformat()
    except OverflowError:
        nanos = -1
    return (f"{seconds} s and {nanos} ns after 1970" if not 0 <= nanos < 10**9 else
            text + (f".{nanos:09d}".rstrip("0") if nanos else "") + "Z")


def text_of(value):
    if isinstance(value, dict):
        return iso_time(**value)
    return (value.hex() if isinstance(value, bytes) else canonical_number(value) if isinstance(value, float)
            else str(value))


def record_of(found):
    """What the entry's bytes say and nothing else, as text by field; a body's fields with its name."""
    record, bodies = {"id": found["id"]}, [name for name, _ in BODIES.values()]
    for name, value in found["entry"].items():
        if name in bodies:
            record.update((f"{name}.{field}", text_of(item)) for field, item in (value or {}).items()
                          if item is not None)
        elif name != "salt":
            record[name] = text_of(value)
    return record


def shown(text):
    """A text for a terminal: characters that could hide others or move the cursor are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def main():
    def address(text):
        if not re.fullmatch("0x[0-9a-fA-F]{40}", text):
            raise argparse.ArgumentTypeError("needs 0x and 40 hex digits")
        return text.lower()

    parser = argparse.ArgumentParser(description="Checks an anchord receipt against a chain.")
    parser.add_argument("receipt", help="the receipt's JSON file; - reads standard input")
    parser.add_argument("--rpc", required=True, metavar="URL", help="JSON-RPC address of a node")
    parser.add_argument("--chain-id", type=int, metavar="N", help="the chain that you expect")
    parser.add_argument("--contract", type=address, metavar="0x..", help="the contract that you expect")
    parser.add_argument("--log", metavar="NAME", help="name of the log that you expect")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    args = parser.parse_args()
    try:
        url = urllib.parse.urlsplit(args.rpc)
        if url.scheme not in ("http", "https") or not url.hostname or url.port == 0:
            raise ValueError("it needs http:// or https://, and a host")
    except ValueError as error:
        parser.error(f"--rpc: {error}")
    try:
        with open(0 if args.receipt == "-" else args.receipt, "rb") as file:
            text = file.read().decode("utf-8", "replace")
    except OSError as error:
        parser.error(f"cannot read the receipt: {error}")

    expected = {"chainId": args.chain_id, "contract": args.contract,
                "log": None if args.log is None else sha256(args.log.encode())}
    found, failed = {"passed": ()}, None
    try:
        verdict = check(text, Chain(args.rpc), expected, found)
        message = ("not anchored yet: the receipt has its entry, but no proof; fetch it again later"
                   if verdict == "not-anchored" else
                   f"the record existed by {iso_time(found['time'])} (the block's time, as the contract "
                   "has it), stands unaltered, and stands at its place in its trail")
    except Failed as failure:
        verdict, (failed, message) = "invalid", failure.args
        found["passed"] = STEPS[:STEPS.index(failed)]
    except Unreachable as error:
        verdict, message = "unreachable", f"the RPC node gives no usable answer: {error}"

    # The host alone: what follows it may be a key to the node, and reports are passed on.
    trusted = [f"the RPC node at {url.hostname} about what the chain holds"]
    unnamed = [option for option, value in zip(("--chain-id", "--contract", "--log"), expected.values())
               if value is None]
    if unnamed:
        trusted.append("the receipt's own word about which chain, contract and log these are, as far as "
                       f"these were not given: {', '.join(unnamed)}")
    record = record_of(found) if "id" in found else None
    if args.json:
        print(json.dumps({"verdict": verdict, "failed_step": failed, "message": message,
                          "passed": found["passed"], "record": record, "trusted": trusted,
                          "block_time": iso_time(found["time"]) if "time" in found else None}, indent=2))
    else:
        sys.stdout.reconfigure(errors="backslashreplace")
        for name, value in (record or {}).items():
            print(f"{name:<24} {shown(value)}")
        print()
        for step in STEPS:
            if step in found["passed"] or step == failed:
                print(f"{step:<24} {'FAILED' if step == failed else 'ok'}")
        print(f"\n{verdict.upper()}: {shown(message)}")
        for line in trusted:
            print(f"Trusted: {line}")
    return EXIT[verdict]


if __name__ == "__main__":
    sys.exit(main())
