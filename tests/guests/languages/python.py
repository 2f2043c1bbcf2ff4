"""A response mapper: the body's JSON under `python`, with what it can find of its surroundings.

It takes what a Python author takes for granted, so that WASI with nothing granted is tried for real:
print, the clock, sleep, the environment, files, random numbers.
"""

import json
import os
import random
import sys
import time

from wit_world import exports
from wit_world.imports import types


class ResponseMapper(exports.ResponseMapper):
    def map_response(self, head, body, carry):
        document = json.loads(body.read())
        if document.get("fail"):
            print("about to fail", file=sys.stderr)
            raise RuntimeError("asked to")
        print("mapped", document["city"])
        before = time.time()
        time.sleep(3600)
        answer = {
            "python": document,
            "slept": round(time.time() - before),
            "year": time.gmtime(before).tm_year,
            "environment": dict(os.environ),
            "files": self.files(),
            "random": random.SystemRandom().randrange(256),
        }
        headers = [types.Header("content-type", b"application/json")]
        return types.Reply(head.status, headers, types.Body(json.dumps(answer).encode()))

    def files(self):
        try:
            return os.listdir("/")
        except OSError:
            return None
