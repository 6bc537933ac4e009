"""All calls of the SDK that concern us, as a program for the interpreter of any SDK version.

It imports `openai` and the standard library, nothing of ours: the other versions' environments have
nothing else.
"""
