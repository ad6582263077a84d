// What each operator takes and makes, as src/ops/signatures.py has it too.
#pragma once

#include <string>

namespace densenet {

// Inputs -> outputs. A group in brackets comes once for each layer, or for each trained parameter. All are float32 but
// for those of the operator's Number and for what says another type.
inline constexpr char kStemTrain[] =
    "images conv gamma beta mean variance -> y y_stats convolved conv_stats extremes indices:uint8";
inline constexpr char kStemInfer[] = "images conv gamma beta mean variance -> y";
inline constexpr char kStemBackward[] =
    "images conv gamma beta y_stats convolved conv_stats extremes indices:uint8 d_y d_y_stats "
    "-> d_conv d_gamma d_beta d_relu";
inline constexpr char kStemInferBackward[] =
    "images conv gamma beta mean variance d_y "
    "-> d_conv d_gamma d_beta d_relu convolved conv_stats extremes indices:uint8";
inline constexpr char kStemImagesBackward[] =
    "images conv gamma beta convolved conv_stats indices:uint8 d_gamma d_beta d_relu -> d_images";
inline constexpr char kBlockTrain[] =
    "x x_stats ( gamma1 beta1 conv1 gamma2 beta2 conv2 ) ( mean1 variance1 mean2 variance2 ) "
    "-> features stats bottlenecks:number bottleneck_stats";
inline constexpr char kBlockInfer[] =
    "x ( gamma1 beta1 conv1 gamma2 beta2 conv2 ) ( mean1 variance1 mean2 variance2 ) -> features scratch:number";
inline constexpr char kBlockBackward[] =
    "features stats bottlenecks:number bottleneck_stats d_features d_stats ( gamma1 beta1 conv1 gamma2 beta2 conv2 ) "
    "-> d_x d_x_stats ( d_gamma1 d_beta1 d_conv1 d_gamma2 d_beta2 d_conv2 ) scratch scratch_bottlenecks:number";
inline constexpr char kBlockTrainDrop[] =
    "x x_stats lowest_kept:int32 scale ( gamma1 beta1 conv1 gamma2 beta2 conv2 ) "
    "( mean1 variance1 mean2 variance2 ) ( random_state:int32 ) "
    "-> features stats bottlenecks:number bottleneck_stats draws:int32";
inline constexpr char kBlockBackwardDrop[] =
    "features stats bottlenecks:number bottleneck_stats draws:int32 lowest_kept:int32 scale d_features d_stats "
    "( gamma1 beta1 conv1 gamma2 beta2 conv2 ) "
    "-> d_x d_x_stats ( d_gamma1 d_beta1 d_conv1 d_gamma2 d_beta2 d_conv2 ) scratch scratch_bottlenecks:number";
inline constexpr char kBlockInferBackward[] =
    "features d_features ( gamma1 beta1 conv1 gamma2 beta2 conv2 ) ( mean1 variance1 mean2 variance2 ) "
    "-> d_x ( d_gamma1 d_beta1 d_conv1 d_gamma2 d_beta2 d_conv2 ) "
    "scratch bottlenecks:number scratch_bottlenecks:number";
inline constexpr char kTransitionTrain[] = "x x_stats gamma beta conv mean variance -> y y_stats chosen:uint8";
inline constexpr char kTransitionInfer[] = "x gamma beta conv mean variance -> y";
inline constexpr char kTransitionBackward[] =
    "x x_stats y y_stats chosen:uint8 d_y d_y_stats gamma beta conv -> d_x d_x_stats d_gamma d_beta d_conv";
inline constexpr char kTransitionInferBackward[] =
    "x y d_y gamma beta conv mean variance -> d_x d_gamma d_beta d_conv chosen:uint8";
inline constexpr char kFinalTrain[] = "x x_stats gamma beta mean variance -> y";
inline constexpr char kFinalInfer[] = "x gamma beta mean variance -> y";
inline constexpr char kFinalBackward[] = "x x_stats d_y gamma beta -> d_x d_x_stats d_gamma d_beta";
inline constexpr char kFinalInferBackward[] = "x d_y gamma beta mean variance -> d_x d_gamma d_beta";
inline constexpr char kMapMeasure[] = "x gamma -> x_stats";
inline constexpr char kSgdUpdate[] = "settings learning_rate ( gradient ) ( parameter ) ( velocity ) -> done";
inline constexpr char kAverageUpdate[] = "share ( average ) ( value ) -> done";

// Throws std::invalid_argument if number or types of the arguments are not those of the signature. number: what the
// operator's Number is called. types: null if the caller does not tell them.
void check_arguments(const char* signature, const std::string& number, int count, const char* const* types);

}  // namespace densenet
