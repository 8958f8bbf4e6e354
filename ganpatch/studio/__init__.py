"""studio: rank, look, flag, paint and repair in the browser, live; every change is in the patch file at once.

    serve(Opening(model="churches"), port=None, announce=print)

state, changes        the state of a session, and the changes that tabs send; pure functions
history, versions     the state on disk: every version kept, undo and redo, the patch file; what each version changed
trust                 what of a folder from somebody else is read
bundled                 what ships with a bundled generator: causes, a dissection, edits, images to begin with
strokes, palette, painting
                      strokes -> masks; what a brush paints with; the edits that paintings mean
engine, edited_images, frames
                      one thread for the model, the newest first; what precedes an edit runs once; images, levels
runs, figures         rankings and dissections, with the orders that they know; quality figures, by version of the patch
jobs, child_process, tasks
                      long work in processes of their own: ranking, learning concepts, baking, measuring, repaired files
session               all of it together
views, drawing, api, server
                      what the routes accept and return; the routes that run the model, and the others; access
"""

from ganpatch.studio.notebook import Shown as Shown
from ganpatch.studio.notebook import show as show
