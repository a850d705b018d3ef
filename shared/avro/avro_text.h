/* What avro-c says went wrong. */
#pragma once

/* ls_avro_text copies avro-c's last error text. */
void ls_avro_text(char out[160]);
