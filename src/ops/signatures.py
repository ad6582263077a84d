"""What each operator takes and makes, as in cpp/signatures.h: the library checks number and types at each call."""

_LAYER = "( gamma1 beta1 conv1 gamma2 beta2 conv2 )"
_LAYER_RUNNING = "( mean1 variance1 mean2 variance2 )"
SIGNATURES = {
    "stem_train": "images conv gamma beta mean variance -> y y_stats convolved conv_stats extremes indices:uint8",
    "stem_infer": "images conv gamma beta mean variance -> y",
    "stem_backward": "images conv gamma beta y_stats convolved conv_stats extremes indices:uint8 d_y d_y_stats "
    "-> d_conv d_gamma d_beta d_relu",
    "stem_infer_backward": "images conv gamma beta mean variance d_y "
    "-> d_conv d_gamma d_beta d_relu convolved conv_stats extremes indices:uint8",
    "stem_images_backward": "images conv gamma beta convolved conv_stats indices:uint8 d_gamma d_beta d_relu "
    "-> d_images",
    "block_train": f"x x_stats {_LAYER} {_LAYER_RUNNING} -> features stats bottlenecks:number bottleneck_stats",
    "block_train_drop": f"x x_stats lowest_kept:int32 scale {_LAYER} {_LAYER_RUNNING} ( random_state:int32 ) "
    "-> features stats bottlenecks:number bottleneck_stats draws:int32",
    "block_infer": f"x {_LAYER} {_LAYER_RUNNING} -> features scratch:number",
    "block_backward": f"features stats bottlenecks:number bottleneck_stats d_features d_stats {_LAYER} "
    "-> d_x d_x_stats ( d_gamma1 d_beta1 d_conv1 d_gamma2 d_beta2 d_conv2 ) scratch scratch_bottlenecks:number",
    "block_backward_drop": "features stats bottlenecks:number bottleneck_stats draws:int32 lowest_kept:int32 scale "
    f"d_features d_stats {_LAYER} "
    "-> d_x d_x_stats ( d_gamma1 d_beta1 d_conv1 d_gamma2 d_beta2 d_conv2 ) scratch scratch_bottlenecks:number",
    "block_infer_backward": f"features d_features {_LAYER} {_LAYER_RUNNING} "
    "-> d_x ( d_gamma1 d_beta1 d_conv1 d_gamma2 d_beta2 d_conv2 ) "
    "scratch bottlenecks:number scratch_bottlenecks:number",
    "transition_train": "x x_stats gamma beta conv mean variance -> y y_stats chosen:uint8",
    "transition_infer": "x gamma beta conv mean variance -> y",
    "transition_backward": "x x_stats y y_stats chosen:uint8 d_y d_y_stats gamma beta conv "
    "-> d_x d_x_stats d_gamma d_beta d_conv",
    "transition_infer_backward": "x y d_y gamma beta conv mean variance -> d_x d_gamma d_beta d_conv chosen:uint8",
    "final_train": "x x_stats gamma beta mean variance -> y",
    "final_infer": "x gamma beta mean variance -> y",
    "final_backward": "x x_stats d_y gamma beta -> d_x d_x_stats d_gamma d_beta",
    "final_infer_backward": "x d_y gamma beta mean variance -> d_x d_gamma d_beta",
    "map_measure": "x gamma -> x_stats",
    "sgd_update": "settings learning_rate ( gradient ) ( parameter ) ( velocity ) -> done",
    "average_update": "share ( average ) ( value ) -> done",
}
