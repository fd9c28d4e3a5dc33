"""How a check in one process uses what a student wrote in another: plain values cross, everything else stays where it is.

codec, encode, decode   values as tagged JSON with raw bytes beside it
channel                 the frames that carry them
errors, grad, shared    what else crosses: exceptions, torch's gradient mode, changes of what a check gave
near, handle            the checks' side: proxies of the student's functions, classes and objects
far, shell              the student's side: runs cells, and does what the proxies ask

This package imports nothing of the course but lmkit: the sandbox holds no other part of it.
"""
