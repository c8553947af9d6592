"""dasrlib takes you through the DASR paper (CVPR 2021): a file for each section, and a notebook.

This is its floor plan. A file imports only from lines above its own line.

==============  =======  ========  ===============================================================
module          paper    notebook  what it holds
==============  =======  ========  ===============================================================
errors                             the sentence for an unknown name
paper           all                printed numbers and hyper-parameters
series                             where the notebooks and the kept figures are
systems         §4.2     05        every system: its titles, its look, what it needs
records                            what is kept of a run, and files written whole
data            §4.1               pictures in and out, datasets, downloads
resampling      §3.1     01        blur and bicubic, as the formulas
jpeg                     08        what photographs went through, beyond the paper
acceleration                       what is fast behind a plain definition; devices
degradation     §3.1     01        kernels, batches and spaces of degradations, ``degrade``
representation  §3.2.1   02        the encoder, InfoNCE, the contrastive learner
grouped_conv    §3.2.2   09        one kernel per sample and channel: reference and GPU kernels
profiles        §4.1     04        every size, schedule and budget: smoke, laptop, gpu, paper
da_conv         §3.2.2   03        the degradation-aware convolution
network         §3.2.2   03        DASR, BlindSR, Models 1 to 5
baselines       §4.2     06        the systems DASR is compared with, a file each
weights                            weights in and out, the bundled ones, the authors' checkpoints
authors         §4.2               the authors' own weights, downloaded
evaluation      §4       05        PSNR-Y, SSIM-Y, benchmark
compositions    §4.2     06        every system of the tables, with its weights
probes          §4.2     02        how well representations tell degradations apart
estimates       §4.4     08        a photograph's noise and JPEG, read off its representation
inference                00        one picture in, one picture out, any size
training        §4.1     04        a run, its step, its patches
plots                    all       a figure from its data
figures                  all       ``figures/NAME.png`` beside ``figures/NAME.json``
studies         §4       05-08     the experiments, one file each
bench                    09        this machine, measured beside the authors' way
widgets                  00-08     the interactive demos
book                               what turns a checkout into the published book
cli                                the console: ``dasr``
==============  =======  ========  ===============================================================
"""

__version__ = "0.1.0"
