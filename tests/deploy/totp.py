"""RFC 6238 with SHA-1, six digits and thirty seconds, as an authenticator app does it."""

import base64
import hashlib
import hmac
import struct
import time


def code(secret, steps_ahead=0):
    key = base64.b32decode(secret + "=" * (-len(secret) % 8), casefold=True)
    digest = hmac.new(key, struct.pack(">Q", int(time.time()) // 30 + steps_ahead), hashlib.sha1).digest()
    offset = digest[-1] & 0x0F
    return f"{(struct.unpack('>I', digest[offset:offset + 4])[0] & 0x7FFFFFFF) % 1_000_000:06d}"
