"""Rankings: candidates, windows, fusion, and evaluation.

Runs break ties as trec_eval does, by descending docno (`limrank_ir.formats.trec.trec_order`); everything else keeps the
order in which the passages were given.
"""
