module moorage.lab/image/echo

go 1.24.0
