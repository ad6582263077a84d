// The network of an instruction set that this CPU may not have, made of emulated instructions: prints its logits.
#include <cmath>
#include <cstdio>
#include <cstring>

#include "network.h"

namespace densenet_emulated {
deployed::MakeNetwork make_network;
}

int main(int, char** words) {
  const deployed::ModelFile file(words[1]);
  const deployed::Description& net = file.description();
  std::vector<float> images(static_cast<size_t>(2) * net.channels * net.image_size * net.image_size);
  for (size_t i = 0; i < images.size(); i++) images[i] = std::sin(static_cast<float>(i));
  std::vector<float> logits(static_cast<size_t>(2) * net.classes);
  for (const bool bf16 : {false, true}) {
    densenet_emulated::make_network(file, bf16)->predict(images.data(), 2, logits.data(), nullptr);
    for (const float logit : logits) std::printf("%.9g ", logit);
    std::printf("\n");
  }
}
