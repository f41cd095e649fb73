"""An outside judge over what this CA signed: samples, pkilint, and what of its findings is waived, with reasons.

It reads the store and asks the status service as any client does; it signs nothing and holds no key.
Called by `doctor` and by the tests, which share the waivers.
"""
