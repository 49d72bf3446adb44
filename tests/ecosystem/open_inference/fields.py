"""Prints the messages of package `inference` that a client brings, as {message: {number: [name, type, is a list]}}."""

import importlib
import json
import sys


def fields(message, found):
    found[message.full_name] = {field.number: [field.name, field.type, field.is_repeated] for field in message.fields}
    for nested in message.nested_types:
        fields(nested, found)


messages = {}
for name in sys.argv[1:]:
    for message in importlib.import_module(name).DESCRIPTOR.message_types_by_name.values():
        fields(message, messages)
print(json.dumps(messages))
