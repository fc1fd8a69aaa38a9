"""The pipeline that makes sentor's models: fetch, prepare, train, calibrate, export, evaluate, card.

Read in the order of the stages; `python -m sentor_training --help` lists them.
"""
