"""The program's face: registry, ledger, devices, engine and executor, wired once for commands and for Python."""
