#include "engine.h"

#include <cstdio>
#include <exception>
#include <memory>
#include <new>
#include <string>

#include "error.h"
#include "instruction_sets.h"
#include "network.h"

struct densenet_engine {
  std::string manifest;
  densenet_engine_shape shape;
  const char* instruction_set;
  std::unique_ptr<deployed::Network> network;
};

namespace {

// Calls work(); of what it throws the sentence is left in `why`. Returns whether it ended well.
template <class Work>
bool reported(char* why, size_t why_size, const Work& work) noexcept {
  const auto say = [&](const char* sentence) {
    if (why && why_size) std::snprintf(why, why_size, "%s", sentence);
  };
  try {
    work();
    return true;
  } catch (const std::bad_alloc&) {
    say("there is not enough memory; give fewer images at once, or a smaller model");
  } catch (const std::exception& error) {
    say(error.what());
  } catch (...) {
    say("an unknown error");
  }
  return false;
}

std::unique_ptr<densenet_engine> loaded(const std::string& path, const std::string& precision) {
  if (precision != "fp32" && precision != "bf16") {
    throw deployed::Error("precision is '" + precision + "', expected fp32 or bf16");
  }
  const deployed::InstructionSet& set = deployed::choose_instruction_set();
  if (precision == "bf16" && !set.has_bf16) {
    throw deployed::Error(std::string("precision is bf16, which takes a CPU with AMX or AVX512_BF16, but this "
                                      "engine computes with ") +
                          set.name + "; give fp32");
  }
  const deployed::ModelFile file(path);
  const deployed::Description& net = file.description();
  if (precision == "bf16" && net.is_int8) {
    throw deployed::Error("precision is bf16, but " + path + " is in INT8, which it computes in; give fp32");
  }
  auto engine = std::make_unique<densenet_engine>();
  engine->manifest = file.manifest();
  engine->shape = {net.channels, net.image_size, net.classes, net.feature_channels(), net.feature_size()};
  engine->instruction_set = set.name;
  engine->network = set.make_network(file, precision == "bf16");
  return engine;
}

}  // namespace

densenet_engine* densenet_engine_load(const char* path, const char* precision, char* why, size_t why_size) {
  densenet_engine* engine = nullptr;
  reported(why, why_size, [&] {
    if (!path || !precision) throw deployed::Error("path and precision must not be null");
    engine = loaded(path, precision).release();
  });
  return engine;
}

densenet_engine_shape densenet_engine_describe(const densenet_engine* engine) { return engine->shape; }

const char* densenet_engine_manifest(const densenet_engine* engine) { return engine->manifest.c_str(); }

const char* densenet_engine_instruction_set(const densenet_engine* engine) { return engine->instruction_set; }

int densenet_engine_predict(const densenet_engine* engine, const float* images, int64_t count, float* logits,
                            float* features, char* why, size_t why_size) {
  const bool worked = reported(why, why_size, [&] {
    if (!engine || !images || !logits) throw deployed::Error("engine, images and logits must not be null");
    if (count < 0) throw deployed::Error("count is " + std::to_string(count) + ", expected 0 or more images");
    if (count > 0) engine->network->predict(images, count, logits, features);
  });
  return worked ? 0 : 1;
}

void densenet_engine_free(densenet_engine* engine) { delete engine; }
