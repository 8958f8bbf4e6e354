"""forward: passes over many seeds.

activations           seeds to activations and images, in batches
layer_facts           what each layer returns, and the layer to look at first
interrupts            Ctrl-C and SIGTERM wait for the end of a batch
saved_state           what is done of a long run, kept in one file per process
resumable_pass        one streaming pass over seeds that can be interrupted and resumed
processes             several processes at one job, started by torchrun
"""
