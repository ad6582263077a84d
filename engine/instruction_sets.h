// The instruction sets that this library is compiled for, and the best of them that this CPU has.
#pragma once

#include <string>

#include "network.h"

namespace deployed {

struct InstructionSet {
  const char* name;
  bool has_bf16;
  bool (*is_usable)();  // here: the CPU has it, and the operating system keeps its registers
  MakeNetwork* make_network;
};

// The environment's DENSENET_KERNELS_ISA asks for one by its name. Throws Error when there is none.
const InstructionSet& choose_instruction_set();

}  // namespace deployed
