// The network, run by what the program is linked with: MindSpore Lite (lite_classifier.cc) or this project's own engine
// for CPUs (engine_classifier.cc).
#ifndef DENSENET_CLASSIFIER_H_
#define DENSENET_CLASSIFIER_H_

#include <memory>
#include <vector>

#include "options.h"

namespace densenet {

class Classifier {
 public:
  virtual ~Classifier() = default;

  virtual int batch() const = 0;

  // Where the pictures of the next batch are put: batch x channels x S x S, valid until Infer.
  virtual float* input() = 0;

  // Logits of the batch in `input`, (batch, classes) one after another.
  virtual std::vector<float> Infer() = 0;
};

// Loads the model onto the device. Error when that fails or the model's input is not (batch, channels, S, S) float32 of
// the asked-for image size.
std::unique_ptr<Classifier> MakeClassifier(const Options& options);

}  // namespace densenet

#endif  // DENSENET_CLASSIFIER_H_
