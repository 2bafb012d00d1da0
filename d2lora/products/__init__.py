"""Matrix products by the fastest exact kernel: of plain rows, of each lane's rows, and of half precision in float32."""
