// The preprocessing alone, for the tests to compare and to feed with damaged files:
//
//   preprocess_tool --image_size 224 --resize 256 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225
//     [--dataset cifar10] [--output_dir DIR] FILE...
//
// Prints `ok` or an error for each file, a line each; DIR/0.bin, DIR/1.bin, ... hold the float32 input tensors of the
// good ones, of all records in a CIFAR-10 file. Exit status 1 when a file was bad, 2 for wrong flags.

#include <iostream>
#include <string>
#include <vector>

#include "dataset.h"
#include "options.h"
#include "preprocessing.h"
#include "utils.h"

namespace {

std::vector<float> PreprocessFile(const std::string& path, bool records, const densenet::Preprocessing& preprocessing) {
  std::vector<float> tensors;
  const auto samples =
      records ? densenet::ListSamples("cifar10", path) : std::vector<densenet::Sample>{{path, "", path, {}}};
  for (const auto& sample : samples) {
    const auto tensor = Preprocess(ReadSample(sample, DecodingFor(preprocessing)), preprocessing);
    tensors.insert(tensors.end(), tensor.begin(), tensor.end());
  }
  return tensors;
}

void Run(const std::vector<std::string>& words) {
  auto names = densenet::kPreprocessingFlags;
  names.insert(names.end(), {"dataset", "output_dir"});
  const densenet::Flags flags(words, names);
  const auto preprocessing = ReadPreprocessing(flags);
  const bool records = flags.Choice("dataset", {"folder", "cifar10"}, "folder") == "cifar10";
  const std::string folder = flags.Text("output_dir", "");
  size_t bad = 0;
  for (size_t i = 0; i < flags.rest().size(); i++) {
    try {
      const auto tensors = PreprocessFile(flags.rest()[i], records, preprocessing);
      if (!folder.empty()) {
        densenet::WriteFile(folder + "/" + std::to_string(i) + ".bin", tensors.data(), tensors.size() * sizeof(float));
      }
      std::cout << "ok\n";
    } catch (const densenet::Error& error) {
      bad++;
      std::cout << densenet::Printable(error.what()) << "\n";
    }
  }
  if (bad) throw densenet::Error(std::to_string(bad) + " of " + std::to_string(flags.rest().size()) + " files are bad");
}

}  // namespace

int main(int argc, char** argv) {
  return densenet::RunReported([&] { Run({argv + 1, argv + argc}); });
}
