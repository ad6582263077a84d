// Which pictures there are, and their pixels.
#ifndef DENSENET_DATASET_H_
#define DENSENET_DATASET_H_

#include <optional>
#include <string>
#include <vector>

#include "decode.h"

namespace densenet {

struct Sample {
  std::string name;  // for people: the file relative to the data set's folder, or the record
  std::string stem;  // its logits go to STEM_0.bin; CLASS/STEM in a data set that has a name in several class folders
  std::string path;
  std::optional<size_t> record;  // of a CIFAR-10 file; none: `path` is a picture
};

// The pictures of a folder of class folders, one picture or those directly in a folder, or the records of CIFAR-10, in
// the order of the Python pipeline. Error when there are none, or when two would write the same result.
std::vector<Sample> ListSamples(const std::string& dataset, const std::string& path);

// The records of a file of CIFAR-10's binary version, or of test_batch.bin in a folder: test_batch_00000, ...
std::vector<Sample> ListCifar10(const std::string& path);

// Decoded pixels; Error that names a picture which cannot be used.
Image ReadSample(const Sample& sample, const Decoding& how);

}  // namespace densenet

#endif  // DENSENET_DATASET_H_
