#!/usr/bin/env python3
"""Checks an anchord receipt, or the certificate of a deadline: python3 verify.py FILE --rpc URL

Needs Python 3.8 or later and nothing else, and shares no code with the service. docs/receipts.md and
docs/sla-certificates.md specify every byte. The steps of a receipt, in order:

  format    the JSON is a receipt, and all of its parts are there
  entry     the entry's bytes are the one encoding of a record
  identity  chain, contract and log are the expected ones, and the RPC node serves that chain
  contract  an AuditLog contract answers at that address
  path      the Merkle path has the length that the record's place in its batch asks for
  root      entry, place in the trail, and path lead to the batch's root
  batch     the contract has that root and size under the batch's number
  head      the batch's fields lead from the head before it to the head that the contract has
  anchor    the transaction sealed the batch, and block and block time are as the receipt says
  work      the batch's head carries the proof of work that was asked for

And of a certificate:

  format    the JSON is a certificate
  subject   its key on chain is the SHA-256 of the subject
  verdict   its times make it what it says: met in time, met late, or broken
  identity  chain and registry are the expected ones, and the RPC node serves that chain
  contract  an SLARegistry contract answers at that address
  cycle     the registry has that deadline, and how it ended
  block     the block by which it stood so has that time
  set/...   the record that set it: the steps of its receipt
  set       the transaction that set the deadline names that record, and did what it asks for
  meet/...  the record that met it: the steps of its receipt
  meet      the transaction that met the deadline names that record

Exit codes: 0 valid, 1 a step failed, 2 bad usage, 3 not anchored yet, 4 RPC node out of reach.
"""
import argparse, base64, hashlib, http.client, json, math, re, struct, sys
import urllib.error, urllib.parse, urllib.request
from datetime import datetime, timedelta
from decimal import Decimal

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


def u256(number):
    return number.to_bytes(32, "big")


def number_of(data):
    return int.from_bytes(data, "big")


# ---- Entry: canonical proto3 ---------------------------------------------------------------------
# A message's fields as "name:kind", numbered from 1. A kind that is no scalar is an enum or a message; with
# an asterisk, the field is repeated.
# `free` is the free part of a body: an entry leaves it unset and keeps it, as JSON, in its `details`.
# `optional` is a uint64 that may be unset, which is not the same as 0: a 0 that is set is written.

def fields(text, first=1):
    return {number: tuple(field.split(":")) for number, field in enumerate(text.split(), first)}


BODIES = fields("threat:Threat trade:Trade order:Order system_change:SystemChange login:Login "
                "config_change:ConfigChange complaint:Complaint custom:Custom "
                "evidence_added:EvidenceAdded evidence_checked:EvidenceChecked "
                "deadline_set:DeadlineSet deadline_extended:DeadlineExtended deadline_paused:DeadlinePaused "
                "deadline_resumed:DeadlineResumed deadline_met:DeadlineMet level_raised:LevelRaised "
                "deadline_refused:DeadlineRefused", first=16)
MESSAGES = {
    "Entry": {**fields("salt:bytes accept_time:Timestamp caller:string request_id:string request_hash:bytes "
                       "subject:string actor:string occur_time:Timestamp details:string"), **BODIES},
    "Timestamp": fields("seconds:int64 nanos:int32"),
    "Duration": fields("seconds:int64 nanos:int32"),
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
    "DeadlineSet": fields("deadline:Timestamp ladder:Duration* cause:string details:free"),
    "DeadlineExtended": fields("deadline:Timestamp reason:string"),
    "DeadlinePaused": fields("reason:string"),
    "DeadlineResumed": fields("reason:string"),
    "DeadlineMet": fields("reason:string cause:string"),
    "LevelRaised": fields("cycle:uint32 level:uint32 due_time:Timestamp raise_time:Timestamp"),
    "DeadlineRefused": fields("record_id:string reason:string"),
}
WITHOUT_DETAILS = [name for name, kind in BODIES.values()
                   if all(inner != "free" for _, inner in MESSAGES[kind].values())]
ENUMS = {name: [f"{prefix}_{value}" for value in values.split()] for name, prefix, values in (
    ("Side", "SIDE", "UNSPECIFIED BUY SELL"),
    ("ThreatScale", "THREAT_SCALE", "UNSPECIFIED HUNDRED UNIT"),
    ("ThreatSeverity", "THREAT_SEVERITY", "UNSPECIFIED LOW MEDIUM HIGH CRITICAL"),
    ("ContentState", "CONTENT_STATE", "UNSPECIFIED NONE PENDING INTACT MISSING ALTERED"))}
DEFAULTS = {"bytes": b"", "string": "", "double": 0.0, "bool": False, "int32": 0, "int64": 0, "uint32": 0,
            "uint64": 0, **{enum: names[0] for enum, names in ENUMS.items()}}


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
    found = {name: [] if "*" in kind else DEFAULTS.get(kind) for name, kind in schema.values() if kind != "free"}
    while at < len(data):
        tag, at = varint(data, at)
        number, wire_type = tag >> 3, tag & 7
        name, kind = schema.get(number, (None, ""))
        repeated, kind = "*" in kind, kind.rstrip("*")
        if name is None or number < last or (number == last and not repeated):
            raise ValueError(f"field {number} of {message} is unknown, repeated or out of order")
        last = number
        if kind == "free":
            raise ValueError("the body has details of its own")
        if wire_type != (1 if kind == "double" else 2 if kind in ("bytes", "string", *MESSAGES) else 0):
            raise ValueError(f"{name} has wire type {wire_type}")
        if wire_type == 0:
            value, at = varint(data, at)
            unsigned = kind in ("uint64", "optional")
            value -= 2**64 if value >= 2**63 and not unsigned else 0
            low, high = {"bool": (0, 1), "int64": (-2**63, 2**63 - 1),
                         "uint32": (0, 2**32 - 1)}.get(kind, (-2**31, 2**31 - 1))
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
        found[name] = found[name] + [value] if repeated else value
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
        (not entry["details"] or all(entry[name] is None for name in WITHOUT_DETAILS),
         "the body is of a type that has no details"),
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


# ---- Receipts and certificates: proto3 JSON ------------------------------------------------------

ENUM_VALUES = {"state": "RECORD_STATE_(ACCEPTED|ANCHORED|FINAL)",
               "verdict": "SLA_VERDICT_(MET_IN_TIME|MET_LATE|BREACHED)"}
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
CERTIFICATE_FORMAT = "anchord/sla-certificate/v1"
CERTIFICATE = {
    "format": "string", "chainId": "uint64", "contract": "string", "subject": "string", "subjectKey": "string",
    "cycle": "uint32", "verdict": "verdict", "deadline": "time", "meetTime": "time", "level": "uint32",
    "extensions": "uint32", "asOfTime": "time", "asOfBlock": "uint64", "setReceipt": RECEIPT,
    "meetReceipt": RECEIPT, "setTransactionHash": "string", "meetTransactionHash": "string",
}
ABSENT = {"bytes": b"", "string": "", "uint32": 0, "uint64": 0}


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
        elif shape == "uint32":
            if not isinstance(value, bool) and 0 < value < 2**32 and value == int(value):
                return int(value)
        elif shape == "time":
            parts = re.fullmatch("([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})Z", value)
            return (datetime(*map(int, parts.groups())) - EPOCH) // timedelta(seconds=1)
        elif re.fullmatch(ENUM_VALUES.get(shape, "(?s).+"), value):
            value.encode("utf-8")  # which an unpaired surrogate has no place in
            return value
    except (AttributeError, TypeError, ValueError, OverflowError):
        pass
    raise Failed("format", f"{where} is not as it must be written")


def load_json(text):
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Failed("format", f"this is not JSON: {error}")


def means_certificate(text):
    """Whether it is the JSON of a certificate, valid or not; else it may be a receipt."""
    try:
        value = load_json(text)
        return isinstance(value, dict) and ("certificate" in value or "format" in value)
    except Failed:
        return False


def read_receipt(text):
    """The receipt in the JSON of a GetReceiptResponse, or of a Receipt alone."""
    value = load_json(text)
    if isinstance(value, dict) and "receipt" in value:
        return read_json(value, {"receipt": RECEIPT, "state": "state"}, "the file")["receipt"]
    return read_json(value, RECEIPT, "receipt")


def read_certificate(text):
    """The certificate in the JSON of a GetCertificateResponse, or of an SLACertificate alone."""
    value = load_json(text)
    if "certificate" in value:
        return read_json(value, {"certificate": CERTIFICATE}, "the file")["certificate"]
    return read_json(value, CERTIFICATE, "certificate")


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


def require_certificate(certificate):
    """The second half of the step "format": what is there goes together, and has its form."""
    is_met = certificate["verdict"] in ("SLA_VERDICT_MET_IN_TIME", "SLA_VERDICT_MET_LATE")
    hash_form = "(0x[0-9a-f]{64})?"
    for holds, problem in (
        (certificate["format"] == CERTIFICATE_FORMAT, "its format is another"),
        (re.fullmatch("0x[0-9a-f]{40}", certificate["contract"]), "contract is not an address"),
        (re.fullmatch("[0-9a-f]{64}", certificate["subjectKey"]), "subjectKey is not 64 lower-case hex digits"),
        (certificate["cycle"] > 0, "cycle is missing"),
        (certificate["verdict"] is not None, "verdict is missing"),
        (None not in (certificate["deadline"], certificate["asOfTime"]), "a time is missing"),
        ((certificate["meetTime"] is not None) == is_met, "meetTime does not go with its verdict"),
        (is_met or certificate["meetReceipt"] is None, "meetReceipt does not go with its verdict"),
        *((re.fullmatch(hash_form, certificate[f"{part}TransactionHash"]) and
           (certificate[f"{part}Receipt"] is not None) == (certificate[f"{part}TransactionHash"] != ""),
           f"{part}Receipt does not go with {part}TransactionHash") for part in ("set", "meet")),
    ):
        if not holds:
            raise Failed("format", problem)


# ---- Chain: JSON-RPC, and the ABI of the contracts -----------------------------------------------

CONTRACT_NAME = "0x75d0c0dc"  # the first 4 bytes of Keccak-256("contractName()")
VERSION = "0x54fd4d50"        # of Keccak-256("version()")
BATCH_OF = "0x6f74911f"       # of Keccak-256("batchOf(bytes32,uint64)")
MINIMUM_DIFFICULTY = "0x371b879e"  # of Keccak-256("minimumDifficulty()")
CYCLE_OF = "0x303fef5c"       # of Keccak-256("cycleOf(bytes32,uint32)")
VERSION_ANSWER = bytes(31) + b"\x01"
# What the registry announces a change with: all of Keccak-256, of
# "DeadlineSet(bytes32,uint32,bytes32,uint48,uint32[],address)" and
# "DeadlineMet(bytes32,uint32,bytes32,bool,uint48,address)".
DEADLINE_SET = "0xe2f5028a76df72f796f484bd376b17b65224330da76d689682eb9555a4bad528"
DEADLINE_MET = "0x43c427d86265f47ff704a382a2205fb861ef643a00a1e38a51f58d4ad9f4c6a8"
# And AuditLog, with "BatchSealed(bytes32,uint64,bytes32,bytes32,uint64,bytes32,bytes32,uint64)" and
# "DifficultyChanged(uint8,uint8)".
BATCH_SEALED = "0xeb494a8b79e3077d36d920790c3427f400e0a678123e4a6dfde84f2a37a253e4"
DIFFICULTY_CHANGED = "0xd0c1b4447a0f44c7d080b547a997521e109db938d7d43fe6e7e96faabd157e6a"


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

    def answers(self, contract, name):
        """Whether version 1 of the contract of that name answers at an address."""
        # A string as a view returns it: offset, length, contents, which fill up whole words.
        expected = u256(32) + u256(len(name)) + name + bytes(-len(name) % 32)
        return (self.call(contract, CONTRACT_NAME) == expected
                and self.call(contract, VERSION) == VERSION_ANSWER)

    def batch(self, contract, log, number):
        """Root, head, size and block time of a batch; None where the contract has no such batch."""
        words = self.call(contract, BATCH_OF + log.hex() + "%064x" % number)
        if len(words) != 128 or words == bytes(128):
            return None
        return words[:32], words[32:64], number_of(words[64:96]), number_of(words[96:])

    def work_asked(self, contract, work, block):
        """The zero digits that the contract asked of a head of a block: as now, unless that was raised since.

        It is searched for only where a head with `work` zero digits has too little for what is asked now.
        """
        words = words_of(self.call(contract, MINIMUM_DIFFICULTY))
        if len(words) != 1:
            raise Unreachable(f"{contract} does not say how much work it asks of heads: ask another node")
        if work >= words[0]:
            return words[0]
        changes = self.ask(
            "eth_getLogs", [{"address": contract, "topics": [DIFFICULTY_CHANGED], "fromBlock": hex(block),
                             "toBlock": "latest"}],
            lambda logs: [(number_of(unhex(log["blockNumber"])), number_of(unhex(log["data"])[:32]))
                          for log in logs])
        later = [previous for at, previous in changes if at > block]
        return min([previous for at, previous in changes if at == block] + (later or words)[:1])

    def cycle(self, contract, key, number):
        """A deadline as the registry has it; None where it has no such deadline."""
        words = words_of(self.call(contract, CYCLE_OF + key + "%064x" % number))
        if len(words) < 9 or (words[0], words[7], words[8]) != (32, 224, len(words) - 9):
            return None
        names = ("number", "deadline", "pauseTime", "meetTime", "extensions", "raised")
        return dict(zip(names, words[1:]))

    def block_time(self, number):
        """The time of a block; None where the chain has no such block."""
        return self.ask("eth_getBlockByNumber", [hex(number), False], lambda found:
                        number_of(unhex(found["timestamp"])) if found else None)

    def logs_of(self, transaction, contract):
        """What a contract announced in a transaction: topics and data of each event."""
        return self.ask("eth_getTransactionReceipt", [transaction], lambda found:
                        [([topic.lower() for topic in log["topics"]], unhex(log["data"]))
                         for log in (found or {}).get("logs", []) if log["address"].lower() == contract])

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


def words_of(data):
    """The words of 32 bytes that an answer has, as numbers; none where it does not consist of words."""
    return [number_of(data[at:at + 32]) for at in range(0, len(data), 32)] if len(data) % 32 == 0 else []


# ---- The checks ----------------------------------------------------------------------------------

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


class Steps(list):
    """The names of the steps that hold."""

    def hold(self, name, holds, message):
        """Notes that a step holds, or raises Failed."""
        if not holds:
            raise Failed(name, message)
        if name not in self:
            self.append(name)


def check(text, chain, expected, found):
    """Checks the JSON of a receipt or of a certificate: see check_receipt and check_certificate."""
    if means_certificate(text):
        return check_certificate(read_certificate(text), chain, expected, found)
    return check_receipt(read_receipt(text), chain, expected, found)


def check_receipt(receipt, chain, expected, found):
    """Returns "valid" or "not-anchored"; raises Failed or Unreachable.

    Fills `found` as it goes: `id` and `entry`, the steps `passed`, the block's `time`.
    """
    try:
        found["entry"] = decode_entry(receipt["entry"])
    except ValueError as error:
        raise Failed("entry", f"the entry cannot be read: {error}")
    found["id"] = sha256(receipt["entry"]).hex()
    bare = all(receipt[part] is None for part in PARTS)
    if not bare:
        require_complete(receipt)
    step = found["passed"].hold
    found["passed"] += ["format", "entry"]
    if bare:
        return "not-anchored"
    identity, trail, inclusion, batch, anchor = (receipt[part] for part in PARTS)
    for name in ("chainId", "contract", "log"):
        ours = expected.get(name)
        if ours is not None and ours != identity[name]:
            raise Failed("identity", f"the receipt has {name} {text_of(identity[name])}, not {text_of(ours)}")
    actual = chain.chain_id()
    step("identity", actual == identity["chainId"],
         f"the receipt is for chain {identity['chainId']}, but the RPC node serves chain {actual}")

    contract, log = identity["contract"], identity["log"]
    step("contract", chain.answers(contract, b"anchord.AuditLog"), f"no AuditLog contract answers at {contract}")

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
        previous = sha256(b"anchord/head/v1", u256(identity["chainId"]), unhex(contract), log)
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
    names = [BATCH_SEALED, "0x" + log.hex(), "0x%064x" % number]
    seals = [topics for topics, _ in chain.logs_of(anchor["transactionHash"], contract) if topics[:3] == names]
    step("anchor", seals, f"transaction {anchor['transactionHash']} did not seal batch {number}{again}")
    step("anchor", time == anchor["blockTime"], f"the contract has block time {iso_time(time)}{again}")

    work = 64 - len(head.hex().lstrip("0"))
    asked = max(expected.get("difficulty") or 0, chain.work_asked(contract, work, block[0]))
    step("work", work >= asked, f"the batch's head starts with {work} zero hex digits, not {asked}")
    found["time"] = time
    return "valid"


def check_certificate(certificate, chain, expected, found):
    """Returns "valid"; raises Failed or Unreachable.

    Fills `found` as it goes: the steps `passed`, the `certificate`, what was found of the records that `set`
    and `meet` it, and the deadline's `cycle` as the registry has it.
    """
    require_certificate(certificate)
    step = found["passed"].hold
    step("format", True, "")
    found["certificate"] = certificate
    subject, key, number = (certificate[name] for name in ("subject", "subjectKey", "cycle"))
    step("subject", key in (subject, sha256(subject.encode()).hex()),
         "subjectKey is not the SHA-256 of the subject")

    deadline, met, as_of = (certificate[name] for name in ("deadline", "meetTime", "asOfTime"))
    if met is None:
        step("verdict", as_of >= deadline, "the deadline had not passed by the time of the certificate")
    else:
        step("verdict", met <= as_of, "it was met after the time of the certificate")
        step("verdict", (met < deadline) == (certificate["verdict"] == "SLA_VERDICT_MET_IN_TIME"),
             f"it was met {'before the deadline' if met < deadline else 'when the deadline had passed'}")

    contract = certificate["contract"]
    for name, theirs in (("chainId", certificate["chainId"]), ("registry", contract)):
        ours = expected.get(name)
        step("identity", ours in (None, theirs), f"the certificate has {name} {theirs}, not {ours}")
    actual = chain.chain_id()
    step("identity", actual == certificate["chainId"],
         f"the certificate is for chain {certificate['chainId']}, but the RPC node serves chain {actual}")
    step("contract", chain.answers(contract, b"anchord.SLARegistry"),
         f"no SLARegistry contract answers at {contract}")

    cycle = chain.cycle(contract, key, number)
    step("cycle", cycle is not None, f"the registry has no deadline {number} of this subject")
    found["cycle"] = cycle
    claim = {"deadline": deadline, "extensions": certificate["extensions"]}
    claim.update({"pauseTime": 0} if met is None else {"meetTime": met, "raised": certificate["level"]})
    for name, ours in claim.items():
        step("cycle", cycle[name] == ours, f"on chain, its {name} is {cycle[name]}, not {ours}")
    step("cycle", cycle["raised"] >= certificate["level"], f"on chain, its level is {cycle['raised']}")
    step("cycle", met is not None or cycle["meetTime"] == 0 or cycle["meetTime"] >= as_of,
         "on chain, it was met before the time of the certificate")

    block = certificate["asOfBlock"]
    step("block", chain.block_time(block) == as_of,
         f"the chain has no block {block} of that time; fetch the certificate again")

    log = {**expected, "chainId": certificate["chainId"]}
    for part in ("set", "meet"):
        if certificate[f"{part}Receipt"] is not None:
            check_record(part, certificate, chain, log, found)
            log.update(certificate["setReceipt"]["identity"] if certificate["setReceipt"] else {})
    return "valid"


def check_record(part, certificate, chain, expected, found):
    """Checks the record that set or met a certificate's deadline. Raises Failed or Unreachable."""
    record = found[part] = {"passed": Steps()}
    try:
        verdict = check_receipt(certificate[f"{part}Receipt"], chain, expected, record)
        if verdict == "not-anchored":
            raise Failed("format", "the receipt has its entry, but no proof")
    except Failed as failure:
        step, message = failure.args
        raise Failed(f"{part}/{step}", message)
    finally:
        found["passed"] += [f"{part}/{step}" for step in record["passed"]]

    entry, transaction = record["entry"], certificate[f"{part}TransactionHash"]
    body = entry["deadline_set" if part == "set" else "deadline_met"]
    names = [DEADLINE_SET if part == "set" else DEADLINE_MET, "0x" + certificate["subjectKey"],
             "0x%064x" % certificate["cycle"], "0x" + record["id"]]
    events = [words_of(data) for topics, data in chain.logs_of(transaction, certificate["contract"])
              if topics == names]
    found["passed"].hold(part, events, f"transaction {transaction} did not name record {record['id']}")
    is_it = (body is not None and entry["caller"] != "chain"
             and sha256(entry["subject"].encode()).hex() == certificate["subjectKey"])
    if is_it and part == "set":
        ladder = [level["seconds"] for level in body["ladder"]]
        asked = (body["deadline"] or {"seconds": None})["seconds"]
        is_it = (events[0][:1], events[0][4:]) == ([asked], ladder)
    found["passed"].hold(part, is_it, f"transaction {transaction} did another thing than the record asks for")


# ---- Output --------------------------------------------------------------------------------------

def iso_time(seconds, nanos=0):
    """A time in UTC, to the nanosecond where it has one; plain numbers where no calendar has it."""
    try:
        text = (EPOCH + timedelta(seconds=seconds)).isoformat()
    except OverflowError:
        text = None
    if text is None or not 0 <= nanos < 10**9:
        return f"{seconds} s and {nanos} ns after 1970"
    return text + (f".{nanos:09d}".rstrip("0") if nanos else "") + "Z"


def text_of(value):
    if isinstance(value, dict):
        return iso_time(**value)
    if isinstance(value, list):  # of durations
        return ", ".join(f"{item['seconds']} s" + (f" {item['nanos']} ns" if item["nanos"] else "")
                         for item in value)
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


def certificate_of(found):
    """What a certificate says, and what the records say that it proves, as text by field."""
    certificate, fields = found["certificate"], {}
    for name, value in certificate.items():
        if not name.endswith("Receipt") and value not in (None, ""):
            fields[name] = iso_time(value) if CERTIFICATE[name] == "time" else str(value)
    for part in ("set", "meet"):
        if "id" in found.get(part, {}):
            fields.update((f"{part}.{name}", text) for name, text in record_of(found[part]).items())
    return fields


def outcome_of(found):
    """What a valid certificate proves."""
    certificate, met = found["certificate"], iso_time(found["cycle"]["meetTime"])
    text = {"SLA_VERDICT_MET_IN_TIME": f"was met in time, at {met}",
            "SLA_VERDICT_MET_LATE": f"was met late, at {met}",
            "SLA_VERDICT_BREACHED": f"was broken, at {iso_time(certificate['deadline'])}",
            }[certificate["verdict"]]
    since = found["cycle"]["meetTime"] and certificate["meetTime"] is None
    return (f"the deadline for {certificate['subject']} {text} (the times of the blocks, as the contract has them)"
            + (f"; it was met late since, at {met}" if since else ""))


def shown(text):
    """A text for a terminal: characters that could hide others or move the cursor are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def main():
    def address(text):
        if not re.fullmatch("0x[0-9a-fA-F]{40}", text):
            raise argparse.ArgumentTypeError("needs 0x and 40 hex digits")
        return text.lower()

    parser = argparse.ArgumentParser(
        description="Checks an anchord receipt, or the certificate of a deadline, against a chain.")
    parser.add_argument("file", help="the JSON file of either; - reads standard input")
    parser.add_argument("--rpc", required=True, metavar="URL", help="JSON-RPC address of a node")
    parser.add_argument("--chain-id", type=int, metavar="N", help="the chain that you expect")
    parser.add_argument("--contract", type=address, metavar="0x..", help="the AuditLog that you expect")
    parser.add_argument("--log", metavar="NAME", help="name of the log that you expect")
    parser.add_argument("--registry", type=address, metavar="0x..",
                        help="the SLARegistry that you expect of a certificate")
    parser.add_argument("--difficulty", type=int, choices=range(65), metavar="N",
                        help="zero hex digits that the head of each batch must start with, whatever the "
                        "contract asks for")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    args = parser.parse_args()
    try:
        url = urllib.parse.urlsplit(args.rpc)
        if url.scheme not in ("http", "https") or not url.hostname or url.port == 0:
            raise ValueError("it needs http:// or https://, and a host")
    except ValueError as error:
        parser.error(f"--rpc: {error}")
    try:
        with open(0 if args.file == "-" else args.file, "rb") as file:
            text = file.read().decode("utf-8", "replace")
    except OSError as error:
        parser.error(f"cannot read the file: {error}")
    is_certificate = means_certificate(text)
    if args.registry is not None and not is_certificate:
        parser.error("--registry is for certificates, and this is none")

    expected = {"chainId": args.chain_id, "contract": args.contract,
                "log": None if args.log is None else sha256(args.log.encode()), "registry": args.registry,
                "difficulty": args.difficulty}
    found, failed = {"passed": Steps()}, None
    try:
        verdict = check(text, Chain(args.rpc), expected, found)
        message = ("not anchored yet: the receipt has its entry, but no proof; fetch it again later"
                   if verdict == "not-anchored" else outcome_of(found) if is_certificate else
                   f"the record existed by {iso_time(found['time'])} (the block's time, as the contract "
                   "has it), stands unaltered, and stands at its place in its trail")
    except Failed as failure:
        verdict, (failed, message) = "invalid", failure.args
        found["passed"] = [step for step in found["passed"] if step != failed]
    except Unreachable as error:
        verdict, message = "unreachable", f"the RPC node gives no usable answer: {error}"

    # The host alone: what follows it may be a key to the node, and reports are passed on.
    trusted = [f"the RPC node at {url.hostname} about what the chain holds"]
    options = {"--chain-id": args.chain_id, "--contract": args.contract, "--log": args.log,
               "--registry": args.registry}
    certificate = found.get("certificate")
    if certificate and not (certificate["setReceipt"] or certificate["meetReceipt"]):
        del options["--contract"], options["--log"]
    if not is_certificate:
        del options["--registry"]
    unnamed = [option for option, value in options.items() if value is None]
    if unnamed:
        kind = "certificate" if is_certificate else "receipt"
        trusted.append(f"the {kind}'s own word about which chain, contract and log these are, as far as "
                       f"these were not given: {', '.join(unnamed)}")
    record = record_of(found) if "id" in found else certificate_of(found) if certificate else None
    if args.json:
        print(json.dumps({"verdict": verdict, "failed_step": failed, "message": message,
                          "passed": found["passed"], "record": record, "trusted": trusted,
                          "block_time": iso_time(found["time"]) if "time" in found else None}, indent=2))
    else:
        sys.stdout.reconfigure(errors="backslashreplace")
        for name, value in (record or {}).items():
            print(f"{name:<24} {shown(value)}")
        print()
        for step in found["passed"] + ([failed] if failed else []):
            print(f"{step:<24} {'FAILED' if step == failed else 'ok'}")
        print(f"\n{verdict.upper()}: {shown(message)}")
        for line in trusted:
            print(f"Trusted: {line}")
    return EXIT[verdict]


if __name__ == "__main__":
    sys.exit(main())
