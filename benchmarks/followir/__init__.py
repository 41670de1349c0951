"""FollowIR: does a reranker follow instructions?"""
