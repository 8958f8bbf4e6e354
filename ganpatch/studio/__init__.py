"""The studio room: rank, look, flag, paint and repair in the browser, live; every change is in the patch file at once.

    serve(studio_for(generator, folder), port=0, announce=print)

state, changes        what a session holds, and the changes that tabs send; pure functions
strokes, palette      strokes -> masks; what a brush paints with
folder                the state on disk: every version kept, undo and redo, the patch file
engine, frames        one thread for the model, the newest first; images, maps and levels of points
jobs                  long work in the background: ranking, baking, repaired files
api, server           the routes; who may call them
"""
