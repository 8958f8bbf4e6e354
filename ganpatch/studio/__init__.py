"""The studio room: rank, look, flag, paint and repair in the browser, live; every change is in the patch file at once.

    serve(Opening(model="churches"), port=None, announce=print)

state, changes        what a session holds, and the changes that tabs send; pure functions
strokes, palette      strokes -> masks; what a brush paints with
folder                the state on disk: every version kept, undo and redo, the patch file
engine, tails, frames one thread for the model, the newest first; images, maps and levels of points
jobs, tasks           long work in processes of their own: ranking, baking, repaired files
session               all of it together
views, api, server    what the routes take and give; the routes; who may call them
"""
