// The command line.
#ifndef DENSENET_OPTIONS_H_
#define DENSENET_OPTIONS_H_

#include <map>
#include <string>
#include <vector>

namespace densenet {

// From a picture of any size to the network's input, as src/datasets/preprocessing.py describes it.
struct Preprocessing {
  int image_size;
  int resize;                     // 0: image_size, nothing is cropped
  std::vector<double> mean, std;  // of three channels or of one, grey, in units where white is 1
  std::string resize_mode = "squash", interpolation = "bilinear", pixels = "shown";

  size_t channels() const { return mean.size(); }
  int resized_to() const { return resize ? resize : image_size; }
  // Resized as Pillow does it.
  bool antialias() const { return resize_mode != "squash" || interpolation != "bilinear" || channels() == 1; }
};

// `--name value` or `--name=value`, each at most once; every other word is kept in `rest`. UsageError for anything odd.
class Flags {
 public:
  Flags(const std::vector<std::string>& words, const std::vector<std::string>& names);

  bool Has(const std::string& name) const { return values_.count(name) > 0; }
  // UsageError when the flag is missing.
  std::string Required(const std::string& name) const;
  std::string Text(const std::string& name, const std::string& fallback) const;
  std::string Choice(const std::string& name, const std::vector<std::string>& choices,
                     const std::string& fallback) const;
  int Integer(const std::string& name, int smallest, int largest, int fallback) const;
  std::vector<double> OfChannels(const std::string& name) const;
  const std::vector<std::string>& rest() const { return rest_; }

 private:
  std::map<std::string, std::string> values_;
  std::vector<std::string> rest_;
};

extern const std::vector<std::string> kPreprocessingFlags;

// The first four are required: the JSON beside the exported model says what they must be.
Preprocessing ReadPreprocessing(const Flags& flags);

struct Options {
  std::string model_path;
  std::string dataset;  // imagenet, folder, cifar10, pictures
  std::string dataset_path;
  std::string device_target;  // Ascend, CPU
  int device_id;
  bool sigmoid = false;        // of a yes or no to each class; else softmax
  std::string class_names;     // a file with a name a line; empty: none
  int batch_size;              // 0: the one the model was exported with
  std::string precision_mode;  // of Ascend; empty: the device's default
  std::string output_dtype;    // float32, float16
  Preprocessing preprocessing;
  std::string output_dir, time_dir;
  int threads;
};

Options ReadOptions(const std::vector<std::string>& words);

extern const char kHelp[];

}  // namespace densenet

#endif  // DENSENET_OPTIONS_H_
