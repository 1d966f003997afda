// Made by edgekit from 2d-Net 1.2.0-rc.1 for nucleo-f446re, artifact c7c5c1d70c5d: do not edit.
// What an application includes: the facts, the model, and the functions that run it.
#ifndef MODEL_2D_NET_H_
#define MODEL_2D_NET_H_

#include "model_2d_net/facts.h"
#include "model_2d_net/model.h"
#include "model_2d_net/runner.h"

#endif  // MODEL_2D_NET_H_
